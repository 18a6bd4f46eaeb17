"""The `zoo` command: parse, call one function, print."""

import argparse
import errno
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoo.cli import terminal
from zoo.cli.arguments import Parser, check_numbers
from zoo.cli.command import Command, UsageError
from zoo.errors import NegativeAnswer, ZooError, did_you_mean
from zoo.reading import is_file, read_text, reason
from zoo.text import shown

GROUPS = (
    "models",
    "weights",
    "segment",
    "use",
    "prune",
    "scene",
    "data",
    "train",
    "eval",
    "text",
    "predict",
    "check",
    "device",
    "measure",
    "bench",
    "search",
    "compare",
    "bench_table",
    "report",
    "doctor",
)
"""Modules of this package, in the order of the help; each has COMMANDS."""

DONE, WRONG, USAGE, NO, INTERRUPTED = 0, 1, 2, 3, 130


SHARED = {
    "list": "models",
    "show": "models",
    "schema": "models",
    "get": "weights",
    "export": "use",
    "bench": "measure",
    "verify": "search",
    "pareto": "search",
    "accuracy": "bench_table",
    "bench-table": "bench_table",
}
"""Commands whose module is not called as they are."""


def commands(groups: Sequence[str] = GROUPS) -> tuple[Command, ...]:
    """Every command of some modules, in the order of the help."""
    return tuple(command for group in groups for command in import_module(f"zoo.cli.{group}").COMMANDS)


def _meant(argv: Sequence[str]) -> tuple[Command, ...]:
    """The command that is called, without the import of the others; every command where that is none."""
    name = argv[0] if argv else ""
    group = SHARED.get(name, name)
    own = commands([group]) if group in GROUPS else ()
    return tuple(command for command in own if command.name == name) or commands()


TASKS: Mapping[str, tuple[str, ...]] = {
    "models and weights": ("list", "show", "get", "schema"),
    "use a network": ("segment", "export", "prune", "scene"),
    "choose a network for a device": ("search", "verify", "check", "compare", "pareto", "report", "accuracy"),
    "what a network costs": ("predict", "bench", "device", "measure"),
    "train and score": ("train", "eval", "data", "bench-table"),
    "about this installation": ("doctor",),
}
"""What the help groups commands by; commands that are in none come last."""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    return _parsers(commands())[0]


class _Version(argparse.Action):
    """Prints the version, which only this option reads."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from zoo._version import version

        print(f"zoo {version()}")
        parser.exit()


def _parsers(every: Sequence[Command]) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of some commands, and each command's own."""
    root = Parser(
        prog="zoo",
        usage="zoo [-h] [--version] COMMAND ...",
        description="A zoo of ESPNet-family segmentation networks, and the search that says which one to ship.",
        epilog=_grouped(every),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    below = root.add_subparsers(prog="zoo", dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    return root, {command.name: _below(below, command) for command in every}


def _below(below: Any, command: Command) -> argparse.ArgumentParser:
    """One command's parser."""
    examples = "\n".join(f"example: {example}" for example in command.examples)
    sub: argparse.ArgumentParser = below.add_parser(
        command.name,
        description=textwrap.fill(command.summary, 79),
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.configure(sub)
    sub.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    sub.add_argument("--config", metavar="FILE", help="your own zoo.yaml (default: the one in this folder)")
    sub.set_defaults(run=command.run)
    return sub


def _grouped(every: Sequence[Command]) -> str:
    """All commands with their summaries, by task."""
    by_name = {command.name: command for command in every}
    listed = {name for names in TASKS.values() for name in names}
    groups = {**TASKS, "more": tuple(name for name in by_name if name not in listed)}
    lines = []
    for task, names in groups.items():
        task_commands = [by_name[name] for name in names if name in by_name]
        lines += [f"{task}:", *map(_line, task_commands), ""] if task_commands else []
    lines += ["zoo COMMAND --help explains a command, with examples.", ""]
    return "\n".join([*lines, "example: zoo search --device tx2 --max-latency-ms 150 --max-power-w 2"])


def _line(command: Command) -> str:
    """A command and its summary, within 80 columns."""
    return textwrap.fill(command.summary, 79, initial_indent=f"  {command.name:<12} ", subsequent_indent=" " * 15)


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; exits with 2, and with the usage of the command that was meant."""
    root, below = _parsers(_meant(argv))
    name = next((word for word in argv if not word.startswith("-")), None)
    if name is not None and name not in below:
        root.error(f"command {name!r} is unknown; {did_you_mean(name, below, 'zoo --help lists the commands')}")
    args, unknown = root.parse_known_args(argv)
    if unknown:
        command = below[args.command]
        options = [option for option in command._option_string_actions if option.startswith("--")]
        word = unknown[0].partition("=")[0]
        command.error(f"unknown {word!r}; {did_you_mean(word, options, 'its options are above')}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; exit codes: 0 done, 1 an error to put right, 2 usage, 3 a legitimate no."""
    if argv is None:
        # Before numpy is loaded: matrices are small here, and each worker process would start threads of its own.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    lost = terminal.open_missing_descriptors()
    terminal.log_warnings()
    try:
        code = _run(argv)
        terminal.flush()
    except BrokenPipeError:
        # The reader has gone; python would complain again when it flushes stdout at exit.
        terminal.detach(sys.stdout)
        return DONE
    except terminal.OutputError as error:
        return _fail(error, WRONG)
    return _fail(terminal.OutputError(terminal.LOST), WRONG) if lost and code == DONE else code


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _parsed(sys.argv[1:] if argv is None else argv)
        check_numbers(args)
        _own_entries(args.config)
        return int(args.run(args))
    except SystemExit:  # argparse: its help, or what it says of usage
        terminal.flush()
        raise
    except NegativeAnswer as error:
        return _fail(error, NO)
    except UsageError as error:
        return _fail(error, USAGE)
    except ZooError as error:
        return _fail(error, WRONG)
    except ModuleNotFoundError as error:
        return _missing(error, args.command)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC and error.filename is None:
            terminal.detach(sys.stdout)
        return _fail(_system(error), WRONG)
    except MemoryError:
        return _fail(
            ZooError("memory does not suffice; use smaller images, fewer at once, or a smaller network"), WRONG
        )
    except RecursionError:
        return _fail(ZooError("what was read is nested too deeply; flatten it"), WRONG)
    except KeyboardInterrupt:
        return _fail(ZooError("interrupted; what was finished is kept"), INTERRUPTED)


def _own_entries(config_path: str | None) -> None:
    """Add the user's own families and devices of zoo.yaml, before a run or a file that names one is read."""
    path = Path(config_path or os.environ.get("ZOO_CONFIG") or "zoo.yaml")
    if is_file(path) and re.search(r"^\W*families\b|\bfolder\b", _text(path), re.MULTILINE):
        from search.device_ref import check_devices
        from zoo.config import load_config

        check_devices(load_config(config_path))


def _text(path: Path) -> str:
    """Of a file that the command itself may refuse; empty where it cannot be read."""
    with suppress(ZooError):
        return read_text(path)
    return ""


def _system(error: OSError) -> ZooError:
    """What the system refused, where no module has a sentence of its own for it."""
    prefix = f"{shown(error.filename)}: " if isinstance(error.filename, str) else ""
    return ZooError(f"{prefix}{reason(error)}; check the path, its permissions and the room on the disk")


def _fail(error: Exception, code: int) -> int:
    terminal.say_error(error)
    return code


EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "nncf": "int8",
    "av": "video",
    "optuna": "optuna",
    "ray": "ray",
    "matplotlib": "plots",
    "fvcore": "counters",
    "ptflops": "counters",
}
"""Which extra brings a package."""


NEEDS: Mapping[str, tuple[str, ...]] = {
    "segment": ("torch",),
    "export": ("torch", "onnx", "onnxruntime"),
    "get": ("torch",),
    "train": ("torch",),
    "eval": ("torch",),
    "bench": ("torch", "onnx", "onnxruntime"),
    "measure": ("torch", "onnx", "onnxruntime"),
}
"""Packages that a command needs, all of which are asked for where one is missing."""


def install(extras: Iterable[str]) -> str:
    """The command that installs extras, from a copy of this repository: the package is on no index.

    >>> install(["onnx", "torch"])
    "pip install '.[onnx,torch]' in the folder of this repository"
    """
    return f"pip install '.[{','.join(sorted(set(extras)))}]' in the folder of this repository"


def _missing(error: ModuleNotFoundError, command: str) -> int:
    name = (error.name or "").partition(".")[0]
    if name not in EXTRAS:
        raise error
    absent = [name, *(package for package in NEEDS.get(command, ()) if find_spec(package) is None)]
    missing = list(dict.fromkeys(absent))
    are = "is" if len(missing) == 1 else "are"
    way = install(EXTRAS[package] for package in missing)
    return _fail(ZooError(f"{', '.join(missing)} {are} not installed and this command needs it; {way}"), WRONG)


if __name__ == "__main__":
    sys.exit(main())
