"""The `zoo` command: parse, call one function, print."""

import argparse
import errno
import sys
from collections.abc import Sequence
from importlib import import_module

from zoo.cli import terminal
from zoo.cli.arguments import Parser, check_numbers
from zoo.cli.command import Command, UsageError
from zoo.errors import NegativeAnswer, ZooError
from zoo.reading import reason
from zoo.text import shown

GROUPS = (
    "models",
    "weights",
    "segment",
    "use",
    "scene",
    "data",
    "train",
    "cost",
    "measure",
    "search",
    "bench_table",
    "report",
)
"""Modules of this package, in the order of the help; each has COMMANDS."""

DONE, WRONG, USAGE, NO, INTERRUPTED = 0, 1, 2, 3, 130


def commands() -> tuple[Command, ...]:
    """Every command, in the order of the help."""
    return tuple(command for group in GROUPS for command in import_module(f"zoo.cli.{group}").COMMANDS)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    root = Parser(
        prog="zoo",
        description="A zoo of ESPNet-family segmentation networks, and the search that says which one to ship.",
        epilog="example: zoo search --device tx2 --max-latency-ms 150 --max-power-w 2",
    )
    below = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands():
        sub = below.add_parser(
            command.name, help=command.summary, description=command.summary, epilog=f"example: {command.example}"
        )
        command.configure(sub)
        sub.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        sub.add_argument("--config", metavar="FILE", help="your own zoo.yaml (default: the one in this folder)")
        sub.set_defaults(run=command.run)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; exit codes: 0 done, 1 an error to put right, 2 usage, 3 a legitimate no."""
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
        args = parser().parse_args(argv)
        check_numbers(args)
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
        return _missing(error)
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


def _system(error: OSError) -> ZooError:
    """What the system refused, where no module has a sentence of its own for it."""
    where = f"{shown(error.filename)}: " if isinstance(error.filename, str) else ""
    return ZooError(f"{where}{reason(error)}; check the path, its permissions and the room on the disk")


def _fail(error: Exception, code: int) -> int:
    terminal.say_error(error)
    return code


EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "optuna": "optuna",
    "ray": "ray",
    "matplotlib": "plots",
    "fvcore": "counters",
    "ptflops": "counters",
}
"""Which extra brings a package."""


def _missing(error: ModuleNotFoundError) -> int:
    name = (error.name or "").partition(".")[0]
    if name not in EXTRAS:
        raise error
    return _fail(
        ZooError(f"{name} is not installed and this command needs it; pip install 'edgeseg-zoo[{EXTRAS[name]}]'"), WRONG
    )


if __name__ == "__main__":
    sys.exit(main())
