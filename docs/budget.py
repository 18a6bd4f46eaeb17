"""docs/budget.md: which network for which budget, from the manifest, the published figures and the devices' models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hw_models.cost import Interval
from hw_models.device import load_device
from hw_models.predictors import predict
from pretrained.manifest import Metric, manifest
from zoo.config import load_config
from zoo.graph import Graph
from zoo.markdown import table
from zoo.published import figures
from zoo.registry import lower

DEVICES = ("nano", "tx2", "xavier-nx", "orin-nano", "agx-orin", "rpi4", "rpi5")
"""Boards of the tables, in groups of one maker."""

OURS = (
    "camvid",
    "val",
    "480x360",
    "one confusion matrix over the split; void pixels ignored; arg-max over the 11 classes",
)
"""Data set, split, size and protocol of the first table."""

SIZE = (360, 480)
"""Height and width of the inputs of the first table."""

LARGE = (512, 1024)
"""Those of the second one."""

RETRAINED = "retrained_miou"


@dataclass(frozen=True, slots=True)
class Row:
    """A network with a score in percent and its predicted latency on each device."""

    name: str
    graph: Graph
    miou: float
    latency: dict[str, Interval]

    def beaten_by(self, other: "Row", device: str) -> bool:
        """Whether another is at least as good in both, and better in one."""
        costs, its = (-self.miou, self.latency[device].mean), (-other.miou, other.latency[device].mean)
        return its != costs and its[0] <= costs[0] and its[1] <= costs[1]


def _row(name: str, graph: Graph, miou: float) -> Row:
    return Row(name, graph, miou, {device: predict(graph, device).latency_s for device in DEVICES})


def measured() -> list[Row]:
    """Networks whose weights ship or can be fetched and were scored under OURS, worst first."""
    rows = [
        _row(f"{entry.model}.{entry.tag}", lower(entry.spec, SIZE), metric.value)
        for entry in manifest().weights
        for metric in entry.metrics
        if metric.name == "miou" and _protocol(metric) == OURS
    ]
    return sorted(rows, key=lambda row: row.miou)


def _protocol(metric: Metric) -> tuple[str, str, str | None, str]:
    return metric.dataset, metric.split, metric.resolution, metric.protocol


def retrained() -> list[Row]:
    """Networks of the public re-training, worst first."""
    models = load_config().models
    rows = [
        _row(figure.model, lower(models[figure.model].spec, LARGE), figure.value)
        for figure in figures()
        if figure.metric == RETRAINED and figure.model
    ]
    return sorted(rows, key=lambda row: row.miou)


def front(rows: Sequence[Row], device: str) -> list[Row]:
    """Rows that no other beats in both mIOU and predicted latency, fastest first."""
    leading = [row for row in rows if not any(row.beaten_by(other, device) for other in rows)]
    return sorted(leading, key=lambda row: row.latency[device].mean)


def _table(rows: Sequence[Row], score: str) -> str:
    columns = ("network", "parameters, M", "GMACs", score, *(f"{device}, ms" for device in DEVICES))
    return table(columns, map(_cells, rows), len(columns) - 1)


def _cells(row: Row) -> tuple[str, ...]:
    times = (_ms(row.latency[device].mean) for device in DEVICES)
    return f"`{row.name}`", f"{row.graph.params / 1e6:.3f}", f"{row.graph.macs / 1e9:.2f}", f"{row.miou:.2f}", *times


def _ms(seconds: float) -> str:
    """Milliseconds with two digits, which is more than predictions know."""
    return f"{float(f'{1e3 * seconds:.2g}'):g}"


def _choices(rows: Sequence[Row]) -> str:
    """For each device the networks worth taking, fastest first."""
    columns = ("device", "", "no other is both better and faster than")
    return table(columns, _choice_cells(rows), "lll")


def _choice_cells(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    for device in DEVICES:
        best = front(rows, device)
        names = ", ".join(f"`{row.name}` ({row.miou:.1f} %, {_ms(row.latency[device].mean)} ms)" for row in best)
        yield f"`{device}`", load_device(device).title, names


def _leads(rows: Sequence[Row]) -> str:
    """Which rows no other beats in mIOU and parameters."""
    leading = [r for r in rows if not any(o.miou > r.miou and o.graph.params <= r.graph.params for o in rows)]
    leading.sort(key=lambda row: row.graph.params)
    return ", ".join(f"`{row.name}` ({row.graph.params / 1e6:.2f} M, {row.miou:.1f} %)" for row in leading)


def _behind(rows: Sequence[Row], name: str) -> str:
    """Which rows are better than one and no larger."""
    row_named = next(row for row in rows if row.name == name)
    better = [row for row in rows if row.miou > row_named.miou and row.graph.params <= row_named.graph.params]
    names = ", ".join(f"`{row.name}` (+{row.miou - row_named.miou:.1f} points)" for row in better) or "none"
    return f"better than `{name}` ({row_named.miou:.1f} %) with no more parameters: {names}"


PAGE = """# Which network for which budget

* **Measured here, CamVid, 480x360**: best {best}; smallest of those scored {smallest}.
* **Re-trained by others, Cityscapes**: {behind}. Nothing with as few parameters has more mIOU than {leads}.
* **Few parameters are not few milliseconds**: {unlike}. The tables by device say what is fast.
* The two tables do not compare with each other: data set, size, recipe and who measured differ.

Latencies are **predicted**, batch 1, at the device's usual clock, as `zoo predict MODEL --device D` has them with their
intervals; [What predictions rest on](hardware.md) has the errors. Differences of a few percent mean nothing.

## Measured by us, one protocol

Weights of the manifest, scored by `zoo eval NAME --dataset camvid` on the 101 images of CamVid's val: {protocol};
inputs and labels of 480x360, 11 classes. Latency is at that size. The best epoch of the `.camvid` weights was chosen on
these images, so their figures are a little optimistic; `camvid-authors` are the ESPNet authors' released weights.

{ours}

{our_choices}

Of the other families no weights are trained here yet, so this table cannot rank them.

## Re-trained by others, one recipe

mIOU on Cityscapes val as printed in the README of zh320/realtime-semantic-segmentation-pytorch: many networks, one
recipe, 800 epochs, crops of 1024x1024. We did not repeat it. Parameters, MACs and predicted latency are of our networks
at 1024x512 with 19 classes or 20 outputs, which is not the size at which those figures were scored: they rank the
networks' cost, and `zoo list --published` says where the other's parameters differ.

{theirs}

{their_choices}
"""


def _unlike(rows: Sequence[Row], name: str, device: str = "orin-nano") -> str:
    """The largest network of a device's front beside one that has fewer parameters."""
    row_named = next(row for row in rows if row.name == name)
    large = max(front(rows, device), key=lambda row: row.graph.params)
    times, share = (
        large.graph.params / row_named.graph.params,
        large.latency[device].mean / row_named.latency[device].mean,
    )
    return (
        f"`{large.name}` has {times:.0f} times the parameters of `{name}`, and {share:.1f} of its latency on {device}"
    )


def page() -> str:
    """The page."""
    measured_rows, retrained_rows = measured(), retrained()
    best, small = measured_rows[-1], min(measured_rows, key=lambda row: row.graph.params)
    return PAGE.format(
        best=f"`{best.name}` with {best.miou:.1f} %",
        smallest=f"`{small.name}` with {small.miou:.1f} % and {small.graph.params / 1e6:.2f} M parameters",
        behind=_behind(retrained_rows, "espnet-8"),
        leads=_leads(retrained_rows),
        unlike=_unlike(retrained_rows, "espnet-8"),
        protocol=OURS[-1],
        ours=_table(measured_rows, "mIOU, %"),
        our_choices=_choices(measured_rows),
        theirs=_table(retrained_rows, "mIOU, %"),
        their_choices=_choices(retrained_rows),
    )
