"""`nsys stats`: one report or several, as CSV or as text; only that of the kernels is read.

The kernel summary was named gpukernsum until 2022 and cuda_gpu_kern_sum since; its columns lost and gained units.
"""

import re
from collections.abc import Mapping

from hw_models.measure.logs.common import Log, Source, cells, is_copy, kernels_of, lines

_HEADER = re.compile(r"^\s*\"?(Time ?\(%\)|Start ?\(ns\))")
_SUMMARY, _TRACE = {"Instances", "Name"}, {"Duration", "CorrId", "Name"}


def read(text: str, source: Source) -> Log:
    """Kernels of the summary, or of the trace, in nanoseconds."""
    calls: list[tuple[str, int, float]] = []
    columns: list[str] = []
    begins: list[int] = []
    other_reports: list[int] = []
    for number, line in lines(text, source):
        if _HEADER.match(line):
            columns = [_plain(name) for name in _split(line)]
            if set(columns) >= _SUMMARY or set(columns) >= _TRACE:
                begins.append(number)
            else:
                other_reports.append(number)
                columns = []
        elif _ends(line):
            columns = []
        elif columns and not re.match(r"^[\s-]+$", line):
            row = _split(line, len(columns))
            if len(row) != len(columns):
                raise source.cut(number)
            calls += _call(dict(zip(columns, row, strict=True)), source, number)
    if not begins:
        detail = f"the report in line {other_reports[0]} is another" if other_reports else "there is none"
        raise source.error(f"has no kernel summary, {detail}; record the report cuda_gpu_kern_sum")
    if len(begins) > 1:
        raise source.error(f"has the kernels of {len(begins)} captures, the second from here; keep one", begins[1])
    return Log(source.tool, kernels=kernels_of(calls, source))


def _ends(line: str) -> bool:
    return line.startswith(("Processing ", "Generating ", "NOTICE", "SKIPPED", " ** ", "** ", "CUDA ", "Exporting "))


def _split(line: str, columns: int = 0) -> list[str]:
    """Cells of CSV, or words of text two blanks apart; names of kernels may hold both."""
    if "," in line and not re.search(r"\S {2,}\S", line):
        return cells(line)
    return re.split(r"\s{2,}", line.strip(), maxsplit=max(columns - 1, 0))


def _plain(column: str) -> str:
    name = column.strip().removesuffix(" (ns)").removesuffix("(ns)")
    return {"Average": "Avg", "Dur": "Duration"}.get(name, name)


def _call(row: Mapping[str, str], source: Source, line: int) -> list[tuple[str, int, float]]:
    if is_copy(row["Name"]):
        return []
    if "Duration" in row:
        return [(row["Name"], 1, 1e-9 * source.number(_digits(row["Duration"]), line))]
    if "Avg" not in row:
        raise source.error("the table has no column Avg; record the report cuda_gpu_kern_sum", line)
    count = source.count(_digits(row["Instances"]), line)
    return [(row["Name"], count, 1e-9 * source.number(_digits(row["Avg"]), line))]


def _digits(text: str) -> str:
    return text.replace(",", "")
