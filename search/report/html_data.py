"""The numbers of an HTML report, as plain values for JSON.

Columns instead of rows, six digits, and specs as indices into the values that occur keep a front of a
thousand candidates and its cloud in some 300 kB.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from math import log
from statistics import NormalDist
from typing import Any

from hw_models.predictors import predict
from search.certificate import described
from search.describe import command, question, space_names
from search.exact import PARTS
from search.pricing import Evaluator
from search.query import DEVICE_METRICS, EXACT_METRICS
from search.report.html_parts import device, layers, rounded, shares
from search.report.html_pool import asked, every_choice, pool
from search.runs.reader import AXES, Run, published, sampled_si, shortlisted
from search.sensitivity import SENSITIVITIES, Staircase, regrets, sensitivity
from search.space import digest
from zoo._version import version
from zoo.config import load_config
from zoo.errors import ConfigError
from zoo.quantities import LIMITED, LIMITS, MINIMIZE
from zoo.registry import lower
from zoo.text import shown


def report_data(run: Run, rank: int | None = None) -> dict[str, Any]:
    """Everything that the report of a run shows; `rank` is the candidate taken apart, by default the chosen one."""
    query = run.query
    if not run.knows_miou:
        raise ConfigError(
            f"{shown(run.folder)}: its mIOU is unknown, and a report is about that; zoo pareto draws the front"
        )
    evaluator = Evaluator(query) if run.enumerable else None
    specs = [entry["spec"] for entry in (*run.front, *run.predicted, *run.tried)]
    fields = _fields([*specs, *(every_choice(query) if evaluator else [])])
    answers = pool(run, fields, evaluator)
    spaces = space_names(query, load_config())
    taken_apart = run.chosen if rank is None else rank
    graph = lower(run.spec(taken_apart), query.space.size)
    costs = [predict(graph, d.name, d.clock_mhz, confidence=query.confidence) for d in run.setting(taken_apart)]
    return {
        "run": run.name,
        "folder": str(run.folder),
        "version": version(),
        "question": question(query),
        "query": query.describe(),
        "counts": {name: run.document.get(name) for name in ("enumerated", "feasible", "complete")},
        "chosen": run.chosen,
        "score": NormalDist().inv_cdf(query.confidence),
        "allowed": 1 - query.confidence,
        "axes": _axes(run),
        "limits": _limits(run),
        "fields": fields,
        "shortlist": shortlisted(run),
        "open_clock": any(device.clock_mhz is None for device in query.devices),
        "front": _columns(run, run.front, fields),
        "pool": answers,
        "expected": _columns(run, run.predicted, fields),
        "tried": _columns(run, run.tried, fields),
        "cloud": _cloud(run, fields),
        "study": {name: run.document.get(name) for name in ("sampler", "trials", "differences")} if run.study else None,
        "published": [_published(run, entry) for entry in published(run)],
        "breakdown": {"rank": taken_apart, "layers": layers(graph, costs), "devices": [shares(c) for c in costs]},
        "devices": [device(str(d), d.name, d.clock_mhz) for d in query.devices],
        "accuracy": list(described(query).values()) if run.enumerable else None,
        "accuracy_used": run.document.get("accuracy"),
        "certificate": run.certificate,
        "certificate_sha256": certificate_hash(run),
        "certified": digest(run.front) == run.certificate.get("front_sha256"),
        "least_miou": query.limits.min_miou,
        "command": command(
            asked(run) if answers else query, "RUN", spaces or ("SPACE",) * len(query.space.members), run.plan
        ),
        "named": spaces is not None,
        "families": list(query.families),
        "sensitivity": _sensitivity(run, evaluator),
        "regret": _regret(run, evaluator),
    }


def certificate_hash(run: Run) -> str | None:
    """SHA-256 of certificate.json as it lies in the folder; None where there is none."""
    path = run.folder / "certificate.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def spread(parts: Mapping[str, float], confidence: float) -> float:
    """Standard deviation of the logarithm of a prediction, from its interval.

    Of a bound that was cut off (power, at idle and at the device's limit) the other side is taken; 0 for what
    is no interval of positive numbers.
    """
    mean, low, high = (parts[part] for part in PARTS)
    if not 0 < low <= mean <= high:
        return 0.0
    return max(log(high / mean), log(mean / low)) / NormalDist().inv_cdf(0.5 + confidence / 2)


def _axes(run: Run) -> list[dict[str, Any]]:
    out = []
    for axis in AXES.values():
        devices: Sequence[int | None] = range(len(run.devices)) if axis.metric in DEVICE_METRICS else [None]
        for i in devices:
            on_device = f" on {run.devices[i]}" if i is not None and len(run.devices) > 1 else ""
            out.append(
                {
                    "name": axis.name if i is None or len(run.devices) == 1 else f"{axis.name}@{run.devices[i]}",
                    "metric": axis.metric,
                    "device": i,
                    "title": axis.title + on_device,
                    "unit": axis.unit,
                    "scale": axis.scale,
                    "better": axis.better,
                    "objective": axis.name in run.query.objectives,
                }
            )
    return out


def _limits(run: Run) -> list[dict[str, Any]]:
    """Every limit that a slider moves; a frame rate is offered where the search asked for one."""
    values = dict(run.query.limits.given())
    return [
        {
            "name": name,
            "option": limit.option,
            "title": limit.title,
            "unit": limit.prefix + limit.unit,
            "metric": LIMITED[name].key,
            "scale": limit.scale,
            "prefix": limit.multiple,
            "inverse": limit.inverse,
            "value": values.get(name),
            "words": limit.spelt(values[name]) if name in values else None,
        }
        for name, limit in LIMITS.items()
        if LIMITED[name].direction == MINIMIZE and (not limit.inverse or name in values)
    ]


def _fields(specs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values of every field that occur, in order of appearance; None too for a field that not all families have."""
    out: dict[str, list[Any]] = {}
    for spec in specs:
        for name, value in spec.items():
            occurring = out.setdefault(name, [])
            if value not in occurring:
                occurring.append(value)
    for fields in {spec["family"]: spec for spec in specs if "family" in spec}.values():
        for occurring in (out[name] for name in out if name not in fields and None not in out[name]):
            occurring.append(None)
    return out


def _columns(run: Run, entries: Sequence[Mapping[str, Any]], fields: Mapping[str, list[Any]]) -> dict[str, Any]:
    return {
        "miou": {part: [rounded(e["miou"][part]) if e["miou"] else 0 for e in entries] for part in PARTS},
        "source": [str(e.get("miou_source", "")) for e in entries],
        "assumes": [", ".join(map(str, e.get("miou_assumes", ()))) for e in entries],
        **{metric: [e[metric] for e in entries] for metric in EXACT_METRICS},
        "devices": [
            {metric: _interval([e["devices"][d][metric] for e in entries], run) for metric in DEVICE_METRICS}
            for d in run.devices
        ],
        "clocks": [
            [e["devices"][d].get("clock_mhz") or device.clock_mhz for e in entries]
            for d, device in zip(run.devices, run.query.devices, strict=True)
        ],
        "spec": {name: [allowed.index(e["spec"].get(name)) for e in entries] for name, allowed in fields.items()},
    }


def _interval(values: Sequence[Mapping[str, float]], run: Run) -> dict[str, list[float]]:
    columns = {part: [rounded(value[part]) for value in values] for part in PARTS}
    return columns | {"sd": [rounded(spread(value, run.query.confidence)) for value in values]}


def _cloud(run: Run, fields: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Central estimates and spreads of the sample; Raises ConfigError for damaged rows."""
    rows = run.sample
    text = {name: [str(_csv(value)) for value in allowed] for name, allowed in fields.items()}
    spec = {name: _indices((row.get(f"spec.{name}", "") for row in rows), allowed) for name, allowed in text.items()}
    out: dict[str, Any] = {"spec": spec, "values": text, "miou": {"mean": _sampled(run, "miou", 0)}}
    out |= {metric: _sampled(run, metric, 0) for metric in EXACT_METRICS}
    out["devices"] = [
        {metric: {"mean": _sampled(run, metric, i), "sd": _sampled_sd(run, metric, i)} for metric in DEVICE_METRICS}
        for i in range(len(run.devices))
    ]
    return out


def _csv(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _indices(column: Iterable[str], allowed: list[str]) -> list[int]:
    """Indices into `allowed`, which grows by what it lacks."""
    out = []
    for value in column:
        if value not in allowed:
            allowed.append(value)
        out.append(allowed.index(value))
    return out


def _sampled(run: Run, metric: str, device: int) -> list[float]:
    return [rounded(sampled_si(run, row, metric, device), 5) for row in run.sample]


def _sampled_sd(run: Run, metric: str, device: int) -> list[float]:
    parts = [{part: sampled_si(run, row, metric, device, part) for part in PARTS} for row in run.sample]
    return [rounded(spread(interval, run.query.confidence), 5) for interval in parts]


def _published(run: Run, entry: Mapping[str, Any]) -> dict[str, Any]:
    cost = [
        {metric: {part: rounded(entry["devices"][d][metric][part]) for part in PARTS} for metric in DEVICE_METRICS}
        for d in run.devices
    ]
    return {k: entry[k] for k in ("name", "source", *EXACT_METRICS)} | {"miou": entry["miou"]["mean"], "devices": cost}


def _stairs(steps: Staircase) -> dict[str, list[float]]:
    return {"x": [rounded(v) for v in steps.limit.tolist()], "miou": [rounded(v) for v in steps.miou.tolist()]}


def _sensitivity(run: Run, evaluator: Evaluator | None) -> list[dict[str, Any]]:
    """Of the limits that the search had, or else of the first objective with a limit."""
    if evaluator is None:
        return []
    limited = {limit for limit, _ in run.query.limits.given()}
    names = [name for name, limit in SENSITIVITIES.items() if limit in limited]
    if "min_fps" in limited and "latency" not in names:
        names.insert(0, "latency")
    names = names or [name for name in run.query.objectives if name in SENSITIVITIES][:1]
    out = []
    for name in names:
        limit, steps = LIMITS[SENSITIVITIES[name]], sensitivity(run.query, name, evaluator)
        stairs = _stairs(Staircase(steps.limit / limit.multiple, steps.miou))
        unit = limit.prefix + limit.unit
        out.append({"name": name, "title": AXES[name].title, "unit": unit, "limit": limit.name} | stairs)
    return out


def _regret(run: Run, evaluator: Evaluator | None) -> list[dict[str, Any]]:
    if len(run.devices) < 2 or evaluator is None:
        return []
    out = []
    for regret in regrets(run.query, evaluator):
        lost, at_ms = regret.largest
        best = {"own": float(regret.own.miou[-1]), "joint": float(regret.joint.miou[-1]), "lost": regret.best}
        out.append(
            {
                "device": regret.device,
                **{name: rounded(value) for name, value in best.items()},
                "largest": {"lost": rounded(lost), "latency_ms": rounded(at_ms)},
                "own_front": _stairs(regret.own),
                "joint_front": _stairs(regret.joint),
            }
        )
    return out


def canonical(data: Any) -> str:
    """JSON that may stand inside a script element of an HTML page: no `<`, `>`, `&` and no line separators."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
