"""Results of a study: the measured front, the predicted front, and differences compared with the noise.

Files beside the study's own: `front.json`, `front.csv`, `trials.csv`, `sample.csv`.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.accuracy.linear import percent
from search.exact import entry
from search.pareto import nondominated
from search.pricing import UnknownAccuracy
from search.runs.folder import write_text
from search.runs.weights import described
from search.runs.writer import _csv
from search.study.measured_latency import keeps_limits
from search.study.observations import observed
from search.study.open_study import StudyState
from search.study.repeats import Gain, Repeats, front_of, gain_of, latencies_of, noise_of, repeats_of
from search.study.surrogate import CHUNK, Surrogate, conflict, fit
from search.study.trials import Trial
from zoo.specs import as_dict

Floats = NDArray[np.float64]

MAX_PREDICTED = 200
SAMPLE = 1500


class StudyResults:
    """The answer of a study. The front is of the long protocol where anything trained by it, else of the search.

    folder: of the run, where weights are looked for.
    """

    def __init__(self, study: StudyState, folder: Path | None = None) -> None:
        self.study, self.feasible, self.folder = study, study.feasible, folder
        latencies = latencies_of(study.searched)
        long = repeats_of(study.followed, "long", latencies)
        short = repeats_of(study.searched, "short", latencies)
        self.measured, self.short = long or short, short
        self.noise = noise_of(self.measured, exact=study.config.accuracy == "published")

    @cached_property
    def front(self) -> list[Repeats]:
        """Measured candidates that no other dominates, the best mIOU first."""
        return front_of(self.feasible, self.measured)

    @cached_property
    def surrogate(self) -> Surrogate:
        """What the search's trials teach about all candidates, by the short protocol."""
        observations = observed(self.study.searched)
        return Surrogate(self.study.own_prior, observations, fit(self.study.own_prior, observations))

    @cached_property
    def gain(self) -> Gain | None:
        """What the long protocol adds, from the candidates measured by both; None from fewer than two of them.

        A candidate was promoted for a high score, part of which is luck: the belief, not the score, is what it
        is compared with.
        """
        long = [m for m in self.measured if m.protocol == "long"]
        if len(long) < 2:
            return None
        before, _ = self.surrogate.points_at([m.index for m in long])
        return gain_of(before, [m.mean for m in long])

    @cached_property
    def _everywhere(self) -> tuple[Floats, Floats, Floats]:
        """Mean, low and high of every candidate's mIOU by the protocol of the front, as far as that is known."""
        parts = [self.surrogate.points_at(np.arange(s, min(s + CHUNK, len(self.feasible)))) for s in self._starts]
        mean, variance = (np.concatenate(part) for part in zip(*parts, strict=True))
        if self.gain:
            mean, variance = mean + self.gain.mean, variance + self.gain.variance
        reach = NormalDist().inv_cdf((1 + self.feasible.query.confidence) / 2) * np.sqrt(variance)
        return percent(mean), percent(mean - reach), percent(mean + reach)

    @property
    def _starts(self) -> range:
        return range(0, len(self.feasible), CHUNK)

    def document(self) -> dict[str, Any]:
        """Everything as plain values: what front.json holds."""
        query, study = self.feasible.query, self.study
        return {
            "kind": "study",
            "query": query.describe(),
            "enumerated": self.feasible.enumerated,
            "feasible": len(self.feasible),
            "complete": False,
            "chosen": 1,
            "accuracy": self._accuracy(),
            "plan": study.config.document(),
            "sampler": {"name": study.sampler, "why": study.why, "seed": study.config.seed},
            "trials": _counts(study.searched) | {"follow_up": _counts(study.followed), "outside": self._outside()},
            "front": [
                row | self._weights(m) for row, m in zip(self._measured_entries(self.front), self.front, strict=True)
            ],
            "tried": list(self._measured_entries(self._others())),
            "differences": list(self._differences()),
            "predicted": list(self._predicted_entries()),
        }

    def _outside(self) -> int:
        """Candidates whose measured latency breaks a limit that the predicted one kept."""
        return sum(not keeps_limits(self.feasible, repeats.index, repeats.latency) for repeats in self.short)

    def _accuracy(self) -> dict[str, Any]:
        short, long = self.study.evaluators
        used = long if self.front[0].protocol == "long" else short
        return {
            "model": "trained" if used.name == "train" else used.name,
            "predicted": used.name != "train",
            "protocol": _spelt(used.describe()),
            "noise_sd": round(self.noise.sd, 4),
            "noise_from": f"repeats, {self.noise.freedom} degrees of freedom" if self.noise.freedom else "assumed",
            "leave_one_out": self._left_out(),
            "prior": self._prior(),
            "expected": self._expected(),
        }

    def _prior(self) -> dict[str, Any]:
        """The weight that the trials leave to the published figures, and how much they speak against the whole."""
        own = self.surrogate
        factor = conflict(own.prior, own.observations, own.scale)
        return {
            "weight": own.scale.weight,
            "conflict": own.scale.weight < 1,
            "times_as_probable": float(f"{factor:.3g}"),
        }

    def _expected(self) -> str:
        """What the expected mIOU of a candidate is, in words."""
        if self.study.config.accuracy == "published":
            return "from the trials"
        if self.gain is None:
            return "from the trials, for the short protocol"
        return (
            f"from the trials of the short protocol, raised by what {self.gain.pairs} candidates "
            f"gained by the long one: {self.gain.mean:+.1f} ± {np.sqrt(self.gain.variance):.1f} points at 50 %"
        )

    def _others(self) -> list[Repeats]:
        """What was measured but is not on the front, the short protocol's where the front is of the long one too."""
        front = {(m.index, m.protocol) for m in self.front}
        repeats = {(m.index, m.protocol): m for m in (*self.measured, *self.short)}
        return sorted((m for key, m in repeats.items() if key not in front), key=lambda m: (m.protocol, -m.mean))

    def _left_out(self) -> dict[str, Any]:
        """How well the surrogate predicts each trial from all others."""
        observations = self.surrogate.observations
        if len(observations) < 3:
            return {"mae": None, "rmse": None, "n": 0, "within_90": None}
        mean, sd = self.surrogate.left_out()
        error = mean - observations.miou
        return {
            "mae": round(float(np.abs(error).mean()), 3),
            "rmse": round(float(np.sqrt((error**2).mean())), 3),
            "n": len(observations),
            "within_90": round(float((np.abs(error) <= 1.645 * sd).mean()), 3),
        }

    def _measured_entries(self, measured: list[Repeats]) -> Iterator[dict[str, Any]]:
        if not measured:
            return
        query = self.feasible.query
        columns, accuracy = self.feasible.columns([m.index for m in measured]), UnknownAccuracy()
        for i, repeats in enumerate(measured):
            reach = self.noise.reach(len(repeats.miou), len(repeats.miou)) / sqrt(2)
            low, high = max(0.0, repeats.mean - reach), min(100.0, repeats.mean + reach)
            yield _timed(entry(query, columns, i, self._spec(repeats.index), None, accuracy), repeats) | {
                "miou": {"mean": repeats.mean, "low": low, "high": high},
                "miou_source": self._source(repeats),
                "runs": list(repeats.miou),
                "trial": repeats.trial,
                "predicted": self._interval(repeats.index),
                **self._weights(repeats),
            }

    def _source(self, repeats: Repeats) -> str:
        if self.study.config.accuracy == "published":
            return f"predicted ({repeats.protocol})"
        runs = "1 run" if len(repeats.miou) == 1 else f"{len(repeats.miou)} runs"
        return f"trained ({repeats.protocol} protocol, {runs}; interval at 0.95)"

    def _weights(self, repeats: Repeats) -> dict[str, Any]:
        """The weights of the first run: the best of several would be the luckiest."""
        short, long = self.study.evaluators
        folder = getattr(long if repeats.protocol == "long" else short, "folder", None)
        if folder is None or self.folder is None:
            return {}
        weights = described(folder / f"{repeats.trial:04}", self.folder)
        return {} if weights is None else {"weights": weights}

    def _predicted_entries(self) -> Iterator[dict[str, Any]]:
        """The front over all candidates by the belief, spread evenly where it is long."""
        mean, _, _ = self._everywhere
        index = np.flatnonzero(nondominated(self.feasible.points(np.arange(len(self.feasible)), mean)))
        index = index[np.argsort(-mean[index], kind="stable")]
        index = index[np.unique(np.linspace(0, len(index) - 1, min(MAX_PREDICTED, len(index))).round().astype(int))]
        yield from self._rows(index)

    def _rows(self, index: Any) -> Iterator[dict[str, Any]]:
        query = self.feasible.query
        columns, accuracy = self.feasible.columns(index), UnknownAccuracy()
        for i, at in enumerate(index):
            yield entry(query, columns, i, self._spec(int(at)), None, accuracy) | {
                "miou": self._interval(int(at)),
                "miou_source": "predicted (from the trials)",
            }

    def sample(self) -> list[dict[str, Any]]:
        """Candidates spread evenly over the space, by the belief."""
        return list(self._rows(np.arange(0, len(self.feasible), 1 + len(self.feasible) // SAMPLE)))

    def _interval(self, index: int) -> dict[str, float]:
        mean, low, high = (float(part[index]) for part in self._everywhere)
        return {"mean": mean, "low": low, "high": high}

    def _spec(self, index: int) -> Any:
        return self.feasible.query.space.spec(int(self.feasible.rows[index]))

    def _differences(self) -> Iterator[dict[str, Any]]:
        """Neighbours on the front, and whether one is really better than the next."""
        for i, (better, worse) in enumerate(zip(self.front, self.front[1:], strict=False)):
            reach = self.noise.reach(len(better.miou), len(worse.miou))
            gap = better.mean - worse.mean
            yield {"ranks": [i + 1, i + 2], "difference": gap, "noise": reach, "exceeds_noise": bool(gap > reach)}

    def trials(self) -> list[dict[str, Any]]:
        """Every trial of both stages, one row each."""
        staged = [("search", e) for e in self.study.searched] + [("follow-up", e) for e in self.study.followed]
        return [
            {
                "stage": stage,
                "trial": e.number,
                "state": e.state,
                "miou": "" if e.miou is None else e.miou,
                "epochs": max(e.reports, default=0),
                "seconds": round(e.seconds, 3),
                "seed": e.seed,
                "error": e.error or "",
                **as_dict(self._spec(e.index)),
            }
            for stage, e in staged
            if not e.void
        ]


def write_results(study: StudyState, folder: Path) -> dict[str, Any]:
    """Write the files of a study that has ended; returns the document of front.json."""
    findings = StudyResults(study, folder)
    document = findings.document()
    write_text(
        folder / "front.csv",
        _csv([{k: v for k, v in e.items() if k not in ("runs", "weights")} for e in document["front"]]),
    )
    write_text(folder / "trials.csv", _csv(findings.trials()))
    write_text(folder / "sample.csv", _csv(findings.sample()))
    write_text(folder / "front.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    return document


def _timed(row: dict[str, Any], repeats: Repeats) -> dict[str, Any]:
    """A row with the latency that was measured here, and what makes the row known by it."""
    if repeats.latency is None:
        return row
    devices = {
        name: cost
        | {
            "latency_s": asdict(repeats.latency),
            "predicted_latency_s": cost["latency_s"],
            "latency_source": "measured on this machine (median of the quietest burst, 90 % interval)",
        }
        for name, cost in row["devices"].items()
    }
    return row | {"devices": devices}


def _counts(trials: list[Trial]) -> dict[str, Any]:
    valid = [e for e in trials if not e.void]
    states = {state: sum(e.state == state for e in valid) for state in ("complete", "stopped", "failed", "running")}
    return {"asked": len(valid), **states, "seconds": round(sum(e.seconds for e in valid), 3)}


def _spelt(about: dict[str, Any]) -> str:
    """A protocol in words."""
    if about["name"] != "train":
        return ", ".join(f"{key} {value}" for key, value in about.items() if value not in ({}, None))
    changes = "".join(f", {key} {value}" for key, value in about["changes"].items())
    return (
        f"trained on {about['dataset']} from random weights, {about['epochs']} epochs at {about['size']}, recipe "
        f"{about['recipe']}{changes}; mIOU of the best epoch on the validation split; decoder {about['decoder']}"
    )
