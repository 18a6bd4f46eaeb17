"""Model card and spec of an exported candidate, with the command that repeats the search."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hw_models.device import shows_power
from hw_models.predictors import Cost, predict
from search.accuracy import accuracy_model
from search.describe import command, question, space_names
from search.query import DEVICE_METRICS
from search.report.html_data import certificate_hash
from search.runs.reader import Run, load_run
from zoo._version import version
from zoo.bulk.choices import Choices
from zoo.config import Config
from zoo.errors import ConfigError
from zoo.files import atomic
from zoo.markdown import table
from zoo.registry import lower
from zoo.specs import Spec, as_dict

OWN_SPACE = "searched"
"""Name of the space in the card where zoo.yaml has none."""


@dataclass(frozen=True, slots=True)
class Papers:
    """Where the spec and the card were written, and the command that repeats the search."""

    spec: Path
    card: Path
    command: str


def write_papers(
    folder: Path, rank: int, beside: Path, config: Config, weights: str | None = None, trained: Spec | None = None
) -> Papers:
    """Write spec YAML and model card of a candidate beside a file, under its name: net.onnx, net.yaml, net.md.

    weights: name of the weights in the file, None for random ones. trained: the spec of the network in the file,
    where it is not the candidate's own, as of one that was trained for other classes. Raises ConfigError for a folder
    that is no run, a rank that it has not, or a file that would be overwritten by its own papers.
    """
    spec_path, card_path = beside.with_suffix(".yaml"), beside.with_suffix(".md")
    if beside in (spec_path, card_path):
        raise ConfigError(f"{beside}: a spec and a card are written beside the file; name it .onnx")
    run = load_run(folder)
    names = space_names(run.query, config)
    repeat = command(run.query, "again", names or _own_names(run), run.plan)
    _write(spec_path, spec_yaml(trained or run.spec(rank), f"{run.name}#{rank}"))
    _write(card_path, card(run, rank, beside, repeat, None if names else _space(run), weights, trained))
    return Papers(spec_path, card_path, repeat)


def _write(path: Path, text: str) -> None:
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def spec_yaml(spec: Spec, name: str) -> str:
    """A spec as the YAML that `zoo` takes as MODEL, and zoo.yaml under `models:`."""
    body = yaml.safe_dump(as_dict(spec), sort_keys=False, default_flow_style=None, allow_unicode=True)
    return f"# Candidate {_plain(name)}, written by edgeseg-zoo {version()}.\n{body}"


def card(
    run: Run, rank: int, file: Path, repeat: str, space: str | None, weights: str | None, trained: Spec | None = None
) -> str:
    """The model card, in Markdown."""
    query, entry, spec = run.query, run.front[rank - 1], trained or run.spec(rank)
    width, height = query.space.size[1], query.space.size[0]
    costs = [
        predict(lower(spec, query.space.size), d.name, d.clock_mhz, confidence=query.confidence)
        for d in run.setting(rank)
    ]
    name = f"{_plain(run.name)}#{rank}"
    if spec != run.spec(rank):
        entry = {**entry, **_own_numbers(run, spec, costs)}
    parts = [
        f"# {name}",
        f"A semantic segmentation network of the family {spec.family}, candidate {rank} of {len(run.front):,} on the "
        f"front of a search: {question(query)}. All limits hold together with probability {query.confidence:g}.",
        f"Weights in {_code(file.name)}: {weights or 'random, the network is untrained'}.",
        *([] if spec == run.spec(rank) else [_differs(run.spec(rank), spec)]),
        "## Spec",
        table(("field", "value"), [(key, _value(value)) for key, value in as_dict(spec).items()]),
        f"{_code(file.with_suffix('.yaml').name)} is a model to every command: "
        f"{_code('zoo show ' + file.with_suffix('.yaml').name)}. In zoo.yaml it is a model with a name of its own:",
        _block(_model_entry(spec), "yaml"),
        f"## Counts at {width}x{height}",
        table(
            ("parameters", "weights, MB (32-bit floats)", "MACs, G", "weights and peak activations, MB"),
            [
                (
                    f"{entry['params']:,}",
                    f"{entry['weight_bytes'] / 1e6:.3f}",
                    f"{entry['macs'] / 1e9:.3f}",
                    f"{entry['memory_bytes'] / 1e6:.1f}",
                )
            ],
        ),
        "Counted from the network's graph, exactly. One MAC is one multiply and one add of convolutions and linear "
        "layers; batch 1.",
        f"## Predicted cost at {width}x{height}, batch 1",
        _costs(run, entry),
        *(_rests_on(label, cost) for label, cost in zip(run.devices, costs, strict=True)),
        "## mIOU",
        _accuracy(run, entry, spec),
        "## The search",
        _search(run),
        "To repeat it" + (", with this in zoo.yaml:" if space else ":"),
        *([_block(space, "yaml")] if space else []),
        _block(repeat, "sh"),
        *([] if run.study else [f"Check the original: {_code(shlex.join(['zoo', 'verify', str(run.folder)]))}."]),
        f"Written by edgeseg-zoo {version()}.",
    ]
    return "\n\n".join(parts) + "\n"


def _own_numbers(run: Run, spec: Spec, costs: Sequence[Cost]) -> dict[str, Any]:
    """Counts and cost of a network that is not quite the candidate, in the form of an entry of the front."""
    graph = lower(spec, run.query.space.size)
    devices = {
        label: {
            metric: {part: getattr(getattr(cost, metric), part) for part in ("mean", "low", "high")}
            for metric in DEVICE_METRICS
        }
        for label, cost in zip(run.devices, costs, strict=True)
    }
    memory = graph.weight_bytes + graph.peak_activation_bytes
    counts = {"params": graph.params, "macs": graph.macs, "weight_bytes": graph.weight_bytes, "memory_bytes": memory}
    return counts | {"devices": devices}


def _differs(candidate: Spec, trained: Spec) -> str:
    """How the network in the file differs from the candidate that the search priced."""
    trained_fields, priced_fields = as_dict(trained), as_dict(candidate)
    changes = ", ".join(
        f"{key} {_value(value)} instead of {_value(priced_fields[key])}"
        for key, value in trained_fields.items()
        if value != priced_fields[key]
    )
    return f"It was trained with {changes}; spec, counts and cost below are those of the network in the file."


def _costs(run: Run, entry: Mapping[str, Any]) -> str:
    rows: list[tuple[str, ...]] = []
    for label in run.devices:
        cost = entry["devices"][label]
        for metric, title, unit, scale in (
            ("latency_s", "latency", "ms", 1e3),
            ("power_w", "power", "W", 1.0),
            ("energy_j", "energy of an image", "mJ", 1e3),
        ):
            if metric != "latency_s" and not shows_power(label.partition("@")[0]):
                continue
            mean, low, high = (scale * float(cost[metric][part]) for part in ("mean", "low", "high"))
            rows.append((label, f"{title}, {unit}", f"{mean:.4g}", f"{low:.4g} to {high:.4g}"))
    return table(("device", "", "predicted", f"{run.query.confidence:.0%} interval"), rows)


def _rests_on(label: str, cost: Cost) -> str:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in cost.provenance.items())
    return f"Device time on {label} rests on: {shares}."


def _accuracy(run: Run, entry: Mapping[str, Any], spec: Spec) -> str:
    miou = entry["miou"]
    source = _plain(str(entry.get("miou_source", "predicted")))
    bounds = f"{miou['low']:.1f} to {miou['high']:.1f}, {run.query.confidence:.0%} interval"
    if "runs" in entry:
        bounds = f"{miou['low']:.1f} to {miou['high']:.1f}"
    head = f"{miou['mean']:.1f} % ({bounds}), {source}."
    if not run.enumerable:
        basis = run.document.get("accuracy")
        protocol = basis.get("protocol") if isinstance(basis, Mapping) else None
        return f"{head} Protocol: {_plain(str(protocol))}." if protocol else head
    described = accuracy_model(run.query.accuracy, run.query.space.size).describe(spec.family)
    error = described["leave_one_out"]
    figures = described.get("figures_are", "published figures")
    networks = described.get("networks_are", "published networks")
    assumes = ", ".join(entry.get("miou_assumes", ()))
    own = next((point for point in described["points"] if point.get("spec") == as_dict(spec)), None)
    return (
        f"{head} Protocol: {described['protocol'].rstrip('.')}. Predicted from {len(described['figures'])} {figures}, "
        f"not measured: left out of the fit, each of {error['n']} {networks} is off by {error['mae']:.2f} "
        f"points on average; this network {_trained(own)} by that protocol."
        + (f" No evidence varies these, so their effect is assumed: {_plain(assumes)}." if assumes else "")
    )


def _trained(own: Mapping[str, Any] | None) -> str:
    return "has not been trained" if own is None else f"is one of them, and reached {own['published']:.1f} when trained"


def _search(run: Run) -> str:
    rows: list[tuple[str, ...]] = [
        (name, f"{run.document[name]:,}") for name in ("enumerated", "feasible") if name in run.document
    ]
    rows.append(("on the front", f"{len(run.front):,}"))
    rows.append(("complete", str(bool(run.document.get("complete"))).lower()))
    hashes = {
        "sha256 of certificate.json": certificate_hash(run),
        "sha256 of the front": run.certificate.get("front_sha256"),
    }
    if run.plan is not None:
        trials = run.document.get("trials", {})
        rows += [(f"trials {name}", str(trials[name])) for name in ("complete", "stopped", "failed") if name in trials]
    rows += [(name, _code(str(value))) for name, value in hashes.items() if value]
    return table(("", ""), rows)


def _own_names(run: Run) -> tuple[str, ...]:
    """Names for the spaces of a run that zoo.yaml lacks."""
    count = len(run.query.space.members)
    return (OWN_SPACE,) if count == 1 else tuple(f"{OWN_SPACE}-{i + 1}" for i in range(count))


def _space(run: Run) -> str:
    members = zip(_own_names(run), run.query.space.members, strict=True)
    space = {"spaces": {name: _space_entry(member.choices) for name, member in members}}
    return str(yaml.safe_dump(space, sort_keys=False, default_flow_style=None, width=110))


def _space_entry(choices: Choices) -> dict[str, Any]:
    values = {
        name: [list(v) if isinstance(v, tuple) else v for v in options] for name, options in choices.values.items()
    }
    return {"family": choices.family, "choices": values}


def _model_entry(spec: Spec) -> str:
    return str(yaml.safe_dump({"models": {"my-network": as_dict(spec)}}, sort_keys=False, default_flow_style=None))


def _value(value: Any) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else ", ".join(map(str, value))
        if isinstance(value, list)
        else str(value)
    )


def _plain(text: str) -> str:
    """Text from a file or a folder's name as one line without markup."""
    return "".join(sign if sign.isalnum() or sign in " .,:;#()%+-_=/@'" else "?" for sign in text)


def _code(text: str) -> str:
    return "`" + _plain(text) + "`"


def _block(text: str, kind: str) -> str:
    return f"```{kind}\n{text.strip()}\n```"
