"""The answer of an exact search in the terminal: the shortlist first, then how many are on the front."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hw_models.device import shows_power
from zoo.cli.command import si, table
from zoo.cli.specs import apart
from zoo.quantities import BY_KEY, LIMITS
from zoo.text import quoted

if TYPE_CHECKING:
    from rich.console import Console


def print_answer(console: "Console", document: Mapping[str, Any], top: int | None, *, specs: bool = True) -> None:
    """The shortlist, what else is on the front, what is worth training, and the commands that go on.

    specs: whether the table has a column of them.
    """
    query, front, shortlist = document["query"], document["front"], document["shortlist"]
    _print_question(console, document)
    ranks = [row["rank"] - 1 for row in shortlist]
    title = f"shortlist of {len(shortlist)}, best first; intervals at {query['confidence']:g}"
    _print_rows(console, query, title, [front[i] for i in ranks], shortlist, specs=specs)
    for line in reading_lines([(f"#{row['rank']}", row["readings"]) for row in shortlist]):
        console.print(line)
    _print_alike(console, document)
    if top:
        best_rows = front[:top]
        _print_rows(console, query, "front, best first", best_rows)
        if len(front) > top:
            console.print(f"… and {len(front) - top:,} more in {document['run']}/front.csv")
    run, size = document["run"], query["space"]["size"]
    console.print(
        f"chosen: {run}#1, best {query['objectives'][0]} in the limits; zoo export {quoted(f'{run}#1')} --size {size}"
    )


def _print_question(console: "Console", document: Mapping[str, Any]) -> None:
    query, front = document["query"], document["front"]
    clocks = len(document["settings"])
    tried = f" at {clocks} clocks" if clocks > 1 else ""
    console.print(
        f"{document['enumerated']:,} enumerated{tried}, {document['feasible']:,} feasible, {len(front):,} on the "
        "front: complete."
    )
    limits = ", ".join(LIMITS[name].spelt(value) for name, value in query["limits"].items()) or "none"
    console.print(f"limits: {limits}; together with probability {query['confidence']:g}")
    miou = document["accuracy"]
    error = miou["leave_one_out"]
    if not error["n"]:
        return
    source = "published figures" if miou["model"] == "published" else f"the {miou['model']} by {miou['form']}"
    scale = miou.get("scale", miou["protocol"])
    at = " at the size of the figures" if "image_size" in miou else ""
    console.print(
        f"mIOU is predicted from {source} ({scale}); left out of the fit, each of {error['n']} {miou['networks_are']} "
        f"is off by {error['mae']:.2f} points on average{at}; elsewhere see the intervals"
    )


def _print_rows(
    console: "Console",
    query: Mapping[str, Any],
    title: str,
    rows_shown: Sequence[Mapping[str, Any]],
    listed: Sequence[Mapping[str, Any]] = (),
    *,
    specs: bool = True,
) -> None:
    from search.union import searched

    common, differing = apart([searched(query["space"], row["spec"]) for row in rows_shown])
    if common and specs:
        console.print(f"the same in all rows: {common}")
    open_clock = any(device["clock_mhz"] is None for device in query["devices"])
    powered = _powered(query)
    assuming = any(row["miou_assumes"] for row in rows_shown)
    rows = []
    for k, (row, spec) in enumerate(zip(rows_shown, differing, strict=True)):
        chance = [_percent(listed[k]["p_best"])] if listed else []
        costs = [
            cell
            for name, cost in row["devices"].items()
            for cell in _cost_cells(cost, open_clock, _name(name) in powered)
        ]
        knee = " knee" if listed and listed[k]["knee"] else ""
        rows.append(
            (
                f"{row['rank']}{knee}",
                *([spec] if specs else []),
                _miou(row["miou"]),
                *([", ".join(row["miou_assumes"]) or "–"] if assuming else []),
                *chance,
                si(row["params"], ""),
                *costs,
            )
        )
    heads = _heads(rows_shown[0]["devices"], open_clock, powered)
    chance_head = ("P(best)",) if listed else ()
    names = ("rank", *(("spec",) if specs else ()))
    assumed = ("assumed",) if assuming else ()
    columns = (*names, "mIOU, %", *assumed, *chance_head, "parameters", *heads)
    console.print(table(title, columns, rows, left=len(names)))


def _miou(miou: Mapping[str, float] | None) -> str:
    return "unknown" if miou is None else _interval(miou, 1.0, 1)


def _percent(share: float) -> str:
    """A share of draws; what was never drawn is not zero."""
    return f"{share:.0%}" if share >= 0.005 else "< 1%"


def _powered(query: Mapping[str, Any]) -> set[str]:
    """Devices whose power is shown: those of which one was read, or all where the question asks for power."""
    asks_power = {"max_power_w", "max_energy_mj"} & set(query["limits"]) or {"power", "energy"} & set(
        query["objectives"]
    )
    return {device["name"] for device in query["devices"] if asks_power or shows_power(device["name"])}


def _name(label: str) -> str:
    """The device of NAME or NAME@MHZ."""
    return label.partition("@")[0]


def _heads(devices: Iterable[str], open_clock: bool, powered: Collection[str]) -> list[str]:
    """Columns of the devices, under their names where there are several."""
    several = len(list(devices)) > 1
    return [
        f"{name} {metric}" if several else metric
        for name in devices
        for metric in (
            *(("MHz",) if open_clock else ()),
            "latency, ms",
            *(("power, W",) if _name(name) in powered else ()),
        )
    ]


def _cost_cells(cost: Mapping[str, Any], open_clock: bool, powered: bool) -> tuple[str, ...]:
    return (
        *((f"{cost['clock_mhz']:g}",) if open_clock else ()),
        _interval(cost["latency_s"], 1e3, 1),
        *((_interval(cost["power_w"], 1.0, 2),) if powered else ()),
    )


def _interval(parts: Mapping[str, float], scale: float, digits: int) -> str:
    """The central estimate, and its interval in a second line."""
    mean, low, high = (f"{scale * parts[part]:.{digits}f}" for part in ("mean", "low", "high"))
    return f"{mean} ({low}–{high})"


def reading_lines(rows: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]]) -> list[str]:
    """What published readings say of candidates, named, each with its `reading_basis` by device.

    >>> basis = {"read": {"latency_s": "a table"}, "inherited": {"power_w": 0.5}}
    >>> print(*reading_lines([("#1", {"tx2": basis})]), sep=chr(10))
    #1 on tx2: latency as read in a table
    tx2: readings of networks alike tell of the model's error: #1 power 50 %
    """
    lines, inherited = [], dict[str, list[str]]()
    for name, by_device in rows:
        for device, basis in by_device.items():
            lines += [
                f"{name} on {device}: {BY_KEY[m].title} as read in {source}" for m, source in basis["read"].items()
            ]
            parts = [f"{BY_KEY[m].title} {100 * share:.0f} %" for m, share in basis["inherited"].items()]
            if parts:
                inherited.setdefault(device, []).append(f"{name} {' and '.join(parts)}")
    lead = "readings of networks alike tell of the model's error"
    return [*lines, *(f"{device}: {lead}: {', '.join(parts)}" for device, parts in inherited.items())]


def _print_alike(console: "Console", document: Mapping[str, Any]) -> None:
    """What cannot be told from the first, and what a training would tell."""
    query, front, shortlist = document["query"], document["front"], document["shortlist"]
    first = shortlist[0]
    name, sure = query["objectives"][0], query["confidence"]
    if first["indistinguishable"]:
        console.print(
            f"{first['indistinguishable']:,} others of the {len(front):,} on the front cannot be told from "
            f"#{first['rank']} in {name} with confidence {sure:g}"
        )
    if first["cheaper"] != first["rank"]:
        cheaper = front[first["cheaper"] - 1]
        console.print(
            f"of these #{cheaper['rank']} is the least in {query['objectives'][1]} "
            f"and nowhere dearer: {_brief(cheaper)}"
        )
    _print_training(console, [row for row in shortlist if row["training"]])


WORTH = 0.05
"""Points of mIOU below which no training is proposed."""


def _print_training(console: "Console", listed: Sequence[Mapping[str, Any]]) -> None:
    if not listed:
        return
    best = max(listed, key=lambda row: float(row["training"]["expected_gain"]))
    gain, macs = best["training"]["expected_gain"], best["training"]["macs"]
    if gain < WORTH:
        console.print(f"no single training would raise the mIOU of the choice by {WORTH} points on average")
        return
    cost = f", at some {macs / 1e15:.2g} PMACs (10^15)" if macs else ""
    console.print(
        f"training #{best['rank']} would tell most: it raises the mIOU of the choice by {gain:.2f} points on "
        f"average{cost}"
    )


def _brief(row: Mapping[str, Any]) -> str:
    device = next(iter(row["devices"].values()))
    miou = "" if row["miou"] is None else f"mIOU {row['miou']['mean']:.1f} %, "
    return f"{miou}{1e3 * device['latency_s']['mean']:.1f} ms, {si(row['params'], '')} parameters"


def print_with_weights(console: "Console", document: Mapping[str, Any]) -> None:
    """Networks with weights, by data set and measured mIOU, and how to get the first."""
    networks, powered = document["with_weights"], _powered(document["query"])
    rows = []
    for row in networks:
        costs = [
            cell
            for name, cost in row["devices"].items()
            for cell in _cost_cells(cost, open_clock=True, powered=_name(name) in powered)
        ]
        miou, predicted = row["miou"], row["miou_predicted"]
        rows.append(
            (
                row["name"],
                row["size"],
                "unknown" if miou is None else f"{miou['value']:g}",
                "–" if miou is None else f"{miou['dataset']} {miou['split']}",
                "–" if predicted is None else _interval(predicted, 1.0, 1),
                si(row["params"], ""),
                *costs,
            )
        )
    heads = _heads(networks[0]["devices"], True, powered)
    title = "networks with weights within the limits; mIOU of different data sets does not compare"
    columns = ("weights", "size", "mIOU, %", "measured on", "predicted", "parameters", *heads)
    console.print(table(title, columns, rows, left=2))
    model, _, tag = networks[0]["name"].rpartition(".")
    console.print(f"get the first: zoo get {model} --pretrained {tag}")
