"""tegrastats of Jetsons: a line a sample.

Rails are `NAME now/average` in mW, with `mW` since JetPack 5 and a third value, the peak, since JetPack 7; AGX Xavier
with JetPack 4 names them without VDD. The GPU is `GR3D load%@MHz`, since JetPack 4 `GR3D_FREQ`, with a clock for each
cluster on Orin, without a clock or without a load elsewhere (Jetson Linux developer guides, tegrastats).
"""

import re

from hw_models.measure.logs.common import Log, Sample, Source, lines

_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?/(\d+)(?:mW)?(?:/\d+(?:mW)?)?(?=\s|$)")
_GPU = re.compile(r"\bGR3D(?:_FREQ)? (?:(\d+)%)?(?:@(\d+|\[[\d,]*\]))?")
_UNCONNECTED = "NC"


def read(text: str, source: Source) -> Log:
    """Power by rail, load and clock."""
    samples: list[Sample] = []
    for number, line in lines(text, source):
        power = {name: int(now) / 1e3 for name, now, _ in _RAIL.findall(line) if name != _UNCONNECTED}
        if not re.search(r"\bRAM \d+/\d+MB", line):
            raise source.error(
                "is not a line of tegrastats; record the log on the board, with nothing else in it", number
            )
        if samples and power.keys() != samples[0].power_w.keys():
            if power.keys() < samples[0].power_w.keys():
                raise source.cut(number)
            raise source.error("has other rails than the lines before; record one board at a time", number)
        samples.append(Sample(power, *_gpu(line)))
    if not samples or not samples[0].power_w:
        raise source.error("has no power rails; run tegrastats as root, on a board that has power monitors", 1)
    return Log(source.tool, samples=tuple(samples))


def _gpu(line: str) -> tuple[float | None, float | None]:
    """Load in per cent and clock in MHz."""
    match = _GPU.search(line)
    if match is None:
        return None, None
    load, clock = match.groups()
    clocks = [int(value) for value in re.findall(r"\d+", clock or "")]
    return float(load) if load else None, float(max(clocks, default=0)) or None
