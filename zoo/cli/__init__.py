"""The `zoo` command: parse, call one function, print."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from zoo.cli.command import Command, UsageError
from zoo.errors import NegativeAnswer, ZooError

GROUPS = (
    "models",
    "weights",
    "segment",
    "use",
    "scene",
    "train",
    "cost",
    "check",
    "device",
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
    root = argparse.ArgumentParser(
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
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except NegativeAnswer as error:
        return _fail(error, NO)
    except UsageError as error:
        return _fail(error, USAGE)
    except ZooError as error:
        return _fail(error, WRONG)
    except ModuleNotFoundError as error:
        return _missing(error)
    except BrokenPipeError:
        # The reader has gone; python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return _fail(ZooError("interrupted; what was finished is kept"), INTERRUPTED)


def _fail(error: Exception, code: int) -> int:
    print(f"zoo: {error}", file=sys.stderr)
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
