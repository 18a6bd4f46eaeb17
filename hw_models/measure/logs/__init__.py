"""Readers of other tools' logs.

A log gives latencies of whole runs, times of kernels, or samples of power, whatever its tool writes. A log that stops
in the middle, or has a line that its tool would not write, is refused in one sentence with the tool and the line:
half a log is half a measurement.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hw_models.measure.logs import nsys, nvidia_smi, nvprof, tegrastats, trtexec
from hw_models.measure.logs.common import KernelTime, Log, LogError, Sample, Source
from zoo.errors import did_you_mean

__all__ = ["LAYOUTS", "KernelTime", "Log", "LogError", "Sample", "read_log"]

LARGEST = 256 * 2**20
"""Bytes of the largest log that is read."""
HEAD = 20_000
"""Characters by which a layout is known."""


class Layout(NamedTuple):
    """One way in which a tool writes: how it is recorded, what its beginning looks like, and its reader."""

    tool: str
    recorded: str
    pattern: str
    read: Callable[[str, Source], Log]


LAYOUTS: tuple[Layout, ...] = (
    Layout("trtexec", "--exportTimes or --exportProfile", r"\A\s*\[\s*(\{|\]|\Z)", trtexec.read_json),
    Layout("trtexec", "what it prints", r"&&&& \w+ TensorRT|^\[\d+/\d+/\d+-[\d:]+\] \[\w\] ", trtexec.read_text),
    Layout("tegrastats", "tegrastats --logfile", r"\bRAM \d+/\d+MB", tegrastats.read),
    Layout("nvidia-smi dmon", "nvidia-smi dmon -s puc", r"^\s*#\s*(date\s+)?(time\s+)?gpu\b", nvidia_smi.read_dmon),
    Layout(
        "nvidia-smi",
        "nvidia-smi --query-gpu=power.draw,utilization.gpu,clocks.sm --format=csv -l 1",
        r"^[^\n#]*\b(power\.draw|utilization\.gpu|clocks\.)[^\n]*$",
        nvidia_smi.read_query,
    ),
    Layout("nvprof", "nvprof --csv", r'^"?(Type"?,"?)?Time\(%\)"?,"?Time"?,|^"?Start"?,"?Duration"?,', nvprof.read_csv),
    Layout("nvprof", "nvprof", r"^==\d+==|^\s*(Type\s+)?Time\(%\)\s+Time\s+Calls", nvprof.read_text),
    Layout(
        "nsys",
        "nsys stats --report cuda_gpu_kern_sum --format csv",
        r'^\s*"?(Time ?\(%\)|Start \(ns\))|^Processing \[',
        nsys.read,
    ),
)
"""Every layout that is read, in the order in which they are tried."""

TOOLS = tuple(dict.fromkeys(layout.tool for layout in LAYOUTS))


def read_log(path: Path, tool: str | None = None) -> Log:
    """Read a log of one of TOOLS, by default that which its beginning looks like. Raises LogError."""
    if tool is not None and tool not in TOOLS:
        raise LogError(f"{path}: tool {tool!r} is unknown; {did_you_mean(tool, TOOLS)}")
    text = _text(path)
    for layout in LAYOUTS:
        if tool in (None, layout.tool) and re.search(layout.pattern, text[:HEAD], re.MULTILINE | re.IGNORECASE):
            return layout.read(text, Source(str(path), layout.tool))
    raise LogError(
        f"{path}: is no log of {', '.join(TOOLS)}; record it with one of these, with the header of its table"
    )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise LogError(f"{path}: is larger than {LARGEST // 2**20} MB; record a shorter log")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LogError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
