"""The held-out test: every figure by which a predictor of mIOU is judged on networks that it never saw.

`held_out` fixes the networks. All are trained under the truth protocol, predicted once, and published: nothing of
this page is computed before the last of them is trained, so that no form can be chosen by it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.candidates import rows
from benchmarks.accuracy.held_out import held_out
from benchmarks.accuracy.protocols import PROTOCOLS
from benchmarks.accuracy.tasks import CANDIDATES, RESULTS, Task
from search.accuracy import AccuracyModel, accuracy_model
from zoo.markdown import table
from zoo.models.espnet import ESPNetSpec
from zoo.registry import lower
from zoo.statistics import jackknife_se, kendall, pooled_sd, spearman

Floats = NDArray[np.float64]

SIZE = PROTOCOLS["truth"].size
"""Height and width at which the truth is trained and scored."""
DRAWS, SEED = 4000, 0
"""Repetitions of all truths from which the ceiling of the noise is computed."""


@dataclass(frozen=True)
class Predictions:
    """What one predictor says of N networks; of two, the one with the larger value is predicted to be better.

    low, high: 90 % intervals in percent, (N,); None for a score that only ranks, which has no error either.
    """

    name: str
    values: Floats
    low: Floats | None = None
    high: Floats | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """How predictions did; standard errors by leaving out one network in turn, None where a figure is undefined.

    error: mean absolute error in points. inside: share of the truths in their intervals. band_kendall: Kendall's tau
    within the latency band. regret: the best truth less that of the network predicted to be best, in points.
    """

    name: str
    kendall: float | None
    kendall_se: float | None
    spearman: float | None
    spearman_se: float | None
    error: float | None
    error_se: float | None
    inside: float | None
    band_kendall: float | None
    regret: float


def judge(predictions: Predictions, truth: Floats, band: Sequence[int]) -> Judgement:
    """Judge predictions by the truth, (N,) in percent; band: places of the networks of one latency band.

    >>> truth = np.array([60.0, 62.0, 61.0, 65.0])
    >>> result = judge(Predictions("parameters", np.array([1.0, 2.0, 3.0, 2.5])), truth, [0, 1, 3])
    >>> result.kendall, result.band_kendall, result.regret, result.error
    (0.3333333333333333, 1.0, 4.0, None)
    """
    values, places = predictions.values, list(band)
    error = error_se = inside = None
    if predictions.low is not None and predictions.high is not None:
        errors = np.abs(values - truth)
        error, error_se = float(errors.mean()), float(errors.std(ddof=1) / np.sqrt(len(errors)))
        inside = float(((predictions.low <= truth) & (truth <= predictions.high)).mean())
    return Judgement(
        name=predictions.name,
        kendall=kendall(values, truth),
        kendall_se=jackknife_se(kendall, values, truth),
        spearman=spearman(values, truth),
        spearman_se=jackknife_se(spearman, values, truth),
        error=error,
        error_se=error_se,
        inside=inside,
        band_kendall=kendall(values[places], truth[places]),
        regret=float(truth.max() - truth[int(np.argmax(values))]),
    )


def noise_ceiling(truth: Floats, noise_sd: float) -> float:
    """Kendall's tau that a predictor reaches which knows every network's expected mIOU, against truths of one run each.

    The expected values are the truths drawn together by the share of their variance that is noise; their repetitions
    have a noise of `noise_sd` points.
    """
    spread = float(truth.var(ddof=1))
    share = max(spread - noise_sd**2, 0.0) / spread
    expected = truth.mean() + np.sqrt(share) * (truth - truth.mean())
    repeated = expected + noise_sd * np.random.default_rng(SEED).standard_normal((DRAWS, len(truth)))
    return float(np.mean([kendall(expected, run) or 0.0 for run in repeated]))


def modelled(model: AccuracyModel, specs: Sequence[ESPNetSpec], *, same_protocol: bool) -> Predictions:
    """Of an accuracy model; of another protocol than the truth's it can only rank."""
    values, low, high = np.array([model.predict_spec(spec) for spec in specs]).T
    return Predictions(f"`{model.name}`", values, *((low, high) if same_protocol else ()))


def counted(specs: Sequence[ESPNetSpec]) -> Iterator[Predictions]:
    """Parameters and MACs as scores."""
    graphs = [lower(spec, SIZE) for spec in specs]
    yield Predictions("parameters", np.array([graph.params for graph in graphs], float))
    yield Predictions("MACs", np.array([graph.macs for graph in graphs], float))


def trained_as(
    protocol: str, specs: Sequence[ESPNetSpec], finished: Mapping[str, Mapping[str, Any]]
) -> Predictions | None:
    """The same networks trained under a cheaper protocol, as a score; None unless all were."""
    scores = [finished.get(Task(protocol, spec).name) for spec in specs]
    values = [score["miou"] for score in scores if score is not None]
    return Predictions(f"trained as `{protocol}`", np.array(values)) if len(values) == len(specs) else None


def truth_noise(finished: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Standard deviation of one run of the truth in points, from those that ran with several seeds."""
    seeds: dict[str, list[float]] = {}
    for row in finished.values():
        if row["protocol"] == "truth":
            seeds.setdefault(str(sorted(row["spec"].items())), []).append(row["miou"])
    pooled = pooled_sd(seeds.values())
    return pooled[0] if pooled else None


def held_out_text(model: AccuracyModel | None = None, results: Path = RESULTS) -> str:
    """The whole test in Markdown, once all are trained and there is a model of the truth protocol to judge."""
    finished, groups = rows(results), held_out()
    specs = [spec for group in groups.values() for spec in group]
    trained = [finished[name] for spec in specs if (name := Task("truth", spec).name) in finished]
    if len(trained) < len(specs) or model is None:
        reason = "" if model else " There is no model of the truth protocol yet."
        return f"{len(trained)} of the {len(specs)} are trained; nothing is predicted before the last is.{reason}"
    truth = np.array([row["miou"] for row in trained])
    reasons = [reason for reason, group in groups.items() for _ in group]
    band = [i for i, reason in enumerate(reasons) if reason == "band"]
    tested = modelled(model, specs, same_protocol=True)
    published = modelled(accuracy_model("published", SIZE), specs, same_protocol=False)
    scores = [tested, published, *counted(specs)]
    scores += [score for protocol in CANDIDATES if (score := trained_as(protocol, specs, finished))]
    judged = judgements_table([judge(predictions, truth, band) for predictions in scores])
    noise = truth_noise(finished)
    ceiling = (
        f"\n\nNoise of one truth {noise:.2f} points: Kendall at most {noise_ceiling(truth, noise):.2f}."
        if noise
        else ""
    )
    return f"{networks_table(reasons, specs, tested, truth)}\n\n{judged}{ceiling}"


def networks_table(reasons: Sequence[str], specs: Sequence[ESPNetSpec], predictions: Predictions, truth: Floats) -> str:
    """Every network with its prediction, interval and truth in Markdown."""
    lines = []
    for i, spec in enumerate(specs):
        low, high = (bound[i] if bound is not None else np.nan for bound in (predictions.low, predictions.high))
        what = f"{spec.variant}, K {spec.k}, α2 {spec.alpha2}, α3 {spec.alpha3}, {'/'.join(map(str, spec.widths))}"
        numbers = (f"{predictions.values[i]:.1f}", f"{low:.1f} to {high:.1f}", f"{truth[i]:.1f}")
        lines.append((what, reasons[i], *numbers))
    return table(("network", "held out as", f"{predictions.name}, %", "90 % interval", "truth, %"), lines, 3)


def judgements_table(judged: Sequence[Judgement]) -> str:
    """All predictors side by side in Markdown."""
    lines = [
        (
            result.name,
            _with_error(result.kendall, result.kendall_se),
            _with_error(result.spearman, result.spearman_se),
            _with_error(result.error, result.error_se),
            "–" if result.inside is None else f"{result.inside:.0%}",
            _with_error(result.band_kendall, None),
            f"{result.regret:.1f}",
        )
        for result in judged
    ]
    columns = ("predictor", "Kendall", "Spearman", "mean error", "90 % interval holds", "Kendall in the band", "regret")
    return table(columns, lines, 6)


def _with_error(value: float | None, standard_error: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if standard_error is None else f"{value:.2f} ± {standard_error:.2f}"
