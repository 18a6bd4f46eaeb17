"""nvidia-smi's two ways to log: the rolling table of `dmon`, and the CSV of `--query-gpu`."""

from hw_models.measure.logs.common import Log, Sample, Source, cells, lines

_MISSING = ("-", "N/A", "[N/A]", "[Not Supported]", "[Unknown Error]", "[GPU requires reset]")


def read_dmon(text: str, source: Source) -> Log:
    """`dmon`: header lines that begin with #, then a row for each card; date and time come first where asked for."""
    columns: list[str] = []
    samples = []
    for number, line in lines(text, source):
        words = line.replace("#", " ").replace(",", " ").split()
        if line.lstrip().startswith("#"):
            if "gpu" in (word.lower() for word in words):
                columns = [word.lower() for word in words]
            continue
        if not columns or len(words) != len(columns):
            raise source.cut(number)
        row = dict(zip(columns, words, strict=True))
        if "pwr" not in row:
            raise source.error("has no column pwr; record it with nvidia-smi dmon -s puc", number)
        values = {key: _value(row.get(key, "-"), source, number) for key in ("pwr", "sm", "pclk")}
        if values["pwr"] is not None:
            samples.append(Sample({f"gpu{row['gpu']}": values["pwr"]}, values["sm"], values["pclk"]))
    return _log(samples, source)


POWER = ("power.draw", "power.draw.average", "power.draw.instant")
LOAD = ("utilization.gpu",)
CLOCK = ("clocks.current.sm", "clocks.sm", "clocks.current.graphics", "clocks.gr")


def read_query(text: str, source: Source) -> Log:
    """`--query-gpu=power.draw,utilization.gpu,clocks.sm,… --format=csv[,nounits]`."""
    rows = list(lines(text, source))
    columns = [name.partition(" [")[0].strip().lower() for name in cells(rows[0][1])]
    power = _column(columns, POWER)
    if power is None:
        raise source.error("has no column power.draw; add it to --query-gpu", rows[0][0])
    load, clock, card = (_column(columns, names) for names in (LOAD, CLOCK, ("index",)))
    samples = []
    for number, line in rows[1:]:
        row = cells(line)
        if [name.partition(" [")[0].strip().lower() for name in row] == columns:
            continue
        if len(row) != len(columns):
            raise source.cut(number)
        watts = _value(row[power], source, number)
        optional_values = [None if at is None else _value(row[at], source, number) for at in (load, clock)]
        if watts is not None:
            samples.append(Sample({f"gpu{0 if card is None else row[card].strip()}": watts}, *optional_values))
    return _log(samples, source)


def _column(columns: list[str], names: tuple[str, ...]) -> int | None:
    return next((columns.index(name) for name in names if name in columns), None)


def _value(text: str, source: Source, line: int) -> float | None:
    """A number with or without its unit; None where the card does not tell."""
    text = text.strip()
    if text in _MISSING:
        return None
    return source.number(text.partition(" ")[0], line)


def _log(samples: list[Sample], source: Source) -> Log:
    if not samples:
        raise source.error("has no sample of power; record it while the network runs")
    return Log(source.tool, samples=tuple(samples))
