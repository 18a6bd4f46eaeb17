"""Commands that make a running engine of an exported network."""

import shlex
from collections.abc import Mapping
from pathlib import PurePath

from zoo.errors import ZooError, did_you_mean

FLAGS: Mapping[str, tuple[str, ...]] = {"fp32": (), "fp16": ("--fp16",), "int8": ("--int8", "--fp16")}
"""trtexec's options by precision: what cannot run in 8 bits may run in 16."""


def trtexec_command(path: PurePath, precision: str = "fp16", size: tuple[int, int] | None = None) -> str:
    """The command that builds a TensorRT engine of an ONNX file and times it, quoted for a shell.

    size: (height, width) of a file whose size was left free. Raises ZooError for an unknown precision.

    >>> trtexec_command(PurePath("espnet.onnx"))
    'trtexec --onnx=espnet.onnx --saveEngine=espnet.engine --fp16 --exportTimes=espnet.times.json'
    """
    if precision not in FLAGS:
        raise ZooError(f"precision {precision!r} is unknown; {did_you_mean(precision, FLAGS)}")
    words = ["trtexec", f"--onnx={path}", f"--saveEngine={path.with_suffix('.engine')}", *FLAGS[precision]]
    if size is not None:
        words += [f"--{bound}Shapes=image:1x3x{size[0]}x{size[1]}" for bound in ("min", "opt", "max")]
    return shlex.join([*words, f"--exportTimes={path.with_suffix('.times.json')}"])
