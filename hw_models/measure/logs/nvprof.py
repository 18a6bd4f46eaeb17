"""nvprof of CUDA 8 to 11: summaries as text and as CSV, and traces as CSV.

CUDA 8 has no column Type: kernels and calls of the API are two tables, the second after a line `==PID== API calls:`.
"""

import re
from itertools import islice

from hw_models.measure.logs.common import Log, Source, cells, is_copy, kernels_of, lines

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_TIME = r"([\d.]+)(ns|us|ms|s)"
_ROW = re.compile(
    rf"^\s*(?:(GPU activities|API calls):)?\s*[\d.]+%\s+{_TIME}\s+(\d+)\s+{_TIME}\s+{_TIME}\s+{_TIME}\s+(.+)$"
)


def read_text(text: str, source: Source) -> Log:
    """The summary that nvprof prints."""
    calls: list[tuple[str, int, float]] = []
    table, kernels = False, True
    for number, line in lines(text, source):
        if re.match(r"\s*(Type\s+)?Time\(%\)\s+Time\s+Calls", line):
            table = True
        elif line.startswith("=="):
            table, kernels = False, "API calls" not in line and (kernels or "Profiling result" in line)
        elif table:
            match = _ROW.match(line)
            if match is None:
                if re.match(r"^\s*[\d.]+%|^\s*(GPU activities|API calls):", line):
                    raise source.error("is not a row of a summary; record the log anew", number)
                table = False
                continue
            kind, name = match[1], match[11].strip()
            kernels = {"GPU activities": True, "API calls": False, None: kernels}[kind]
            if kernels and not is_copy(name):
                calls.append(
                    (name, source.count(match[4], number), _SECONDS[match[6]] * source.number(match[5], number))
                )
    return Log(source.tool, kernels=kernels_of(calls, source))


def read_csv(text: str, source: Source) -> Log:
    """`--csv`: a header, a row of units, then rows; a summary (`Calls`, `Avg`) or a GPU trace (`Duration`)."""
    rows = iter(list(lines(text, source)))
    columns: list[str] = []
    for _, line in rows:
        if not line.startswith("==") and "Name" in line and ("Avg" in line or "Duration" in line):
            columns = cells(line)
            break
    unit_row = list(islice(rows, 1))
    if not columns or not unit_row:
        raise source.error("has no table of kernels; record it with nvprof --csv")
    units = cells(unit_row[0][1])
    if len(units) != len(columns):
        raise source.cut(unit_row[0][0])
    timed = "Avg" if "Avg" in columns else "Duration"
    unit = units[columns.index(timed)]
    if unit not in _SECONDS:
        raise source.error(f"the unit of {timed} is {unit!r}; it must be s, ms, us or ns", unit_row[0][0])
    calls = []
    for number, line in rows:
        if line.startswith("=="):
            break  # the calls of the API, or the program's end
        row = cells(line)
        if len(row) != len(columns):
            raise source.cut(number)
        entry = dict(zip(columns, row, strict=True))
        if entry.get("Type", "GPU activities") == "GPU activities" and not is_copy(entry["Name"]):
            count = source.count(entry["Calls"], number) if timed == "Avg" else 1
            calls.append((entry["Name"], count, _SECONDS[unit] * source.number(entry[timed], number)))
    return Log(source.tool, kernels=kernels_of(calls, source))
