"""What a study found: the front of what was measured, the front that is predicted, and how far noise goes.

Files beside the study's own: `front.json`, `front.csv`, `trials.csv`, `sample.csv`.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.accuracy_published import NOISE_SD
from search.belief import Belief, fit
from search.ledger import Entry
from search.pareto import nondominated
from search.runs import _csv, _write, entry
from search.study import Studied, evidence
from zoo.spec import as_dict

Floats = NDArray[np.float64]

MAX_PREDICTED = 200
SAMPLE = 1500

T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % quantiles of Student's t for 1 to 30 degrees of freedom."""


@dataclass(frozen=True)
class Measured:
    """A candidate and the mIOU of its runs by one protocol, in percent; the number of its first trial."""

    index: int
    miou: tuple[float, ...]
    protocol: str
    trial: int

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return float(np.mean(self.miou))


@dataclass(frozen=True)
class Noise:
    """Standard deviation of the mIOU of one training, in percent; freedom: degrees of it, 0 where it is assumed."""

    sd: float
    freedom: int

    def reach(self, a: int, b: int) -> float:
        """The smallest difference of the means of `a` and `b` runs that is not noise, at 95 %."""
        quantile = T_95[min(self.freedom, len(T_95)) - 1] if self.freedom else 1.96
        return float(quantile * self.sd * np.sqrt(1 / a + 1 / b))


class Findings:
    """The answer of a study. The front is of the long protocol where anything trained by it, else of the search."""

    def __init__(self, study: Studied) -> None:
        self.study, self.found = study, study.found
        long = _measured(study.followed, "long")
        self.measured = long or _measured(study.searched, "short")
        self.noise = _noise(self.measured, exact=study.plan.accuracy == "published")

    @cached_property
    def front(self) -> list[Measured]:
        """Measured candidates that no other dominates, the best mIOU first."""
        index = np.array([m.index for m in self.measured])
        keep = nondominated(self.found.points(index, [m.mean for m in self.measured]))
        return sorted((m for m, k in zip(self.measured, keep, strict=True) if k), key=lambda m: -m.mean)

    @cached_property
    def belief(self) -> Belief:
        """What the search's trials teach about all candidates, by the short protocol."""
        told = evidence(self.study.searched)
        return Belief(self.study.own_prior, told, fit(self.study.own_prior, told))

    @cached_property
    def _everywhere(self) -> tuple[Floats, Floats]:
        return self.belief.everywhere(len(self.found))

    def document(self) -> dict[str, Any]:
        """Everything as plain values: what front.json holds."""
        query, study = self.found.query, self.study
        return {
            "kind": "study",
            "query": query.describe(),
            "enumerated": self.found.enumerated,
            "feasible": len(self.found),
            "complete": False,
            "chosen": 1,
            "accuracy": self._accuracy(),
            "sampler": {"name": study.sampler, "why": study.why, "seed": study.plan.seed},
            "trials": _counts(study.searched) | {"follow_up": _counts(study.followed)},
            "front": list(self._front_entries()),
            "differences": list(self._differences()),
            "predicted": list(self._predicted_entries()),
        }

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
        }

    def _left_out(self) -> dict[str, Any]:
        """How well the belief predicts each trial from all others."""
        told = self.belief.told
        if len(told) < 3:
            return {"mae": None, "rmse": None, "n": 0, "within_90": None}
        mean, sd = self.belief.left_out()
        error = mean - told.miou
        return {
            "mae": round(float(np.abs(error).mean()), 3),
            "rmse": round(float(np.sqrt((error**2).mean())), 3),
            "n": len(told),
            "within_90": round(float((np.abs(error) <= 1.645 * sd).mean()), 3),
        }

    def _front_entries(self) -> Iterator[dict[str, Any]]:
        query = self.found.query
        columns = self.found.columns([m.index for m in self.front])
        for i, one in enumerate(self.front):
            reach = self.noise.reach(len(one.miou), len(one.miou)) / np.sqrt(2)
            yield entry(query, columns, i, self._spec(one.index)) | {
                "miou": {"mean": one.mean, "low": one.mean - reach, "high": one.mean + reach},
                "miou_source": f"{'trained' if self.study.plan.accuracy == 'train' else 'predicted'} ({one.protocol})",
                "runs": list(one.miou),
                "trial": one.trial,
                "predicted": self._interval(one.index),
            }

    def _predicted_entries(self) -> Iterator[dict[str, Any]]:
        """The front over all candidates by the belief, spread evenly where it is long."""
        mean, _ = self._everywhere
        index = np.flatnonzero(nondominated(self.found.points(np.arange(len(self.found)), mean)))
        index = index[np.argsort(-mean[index], kind="stable")]
        index = index[np.unique(np.linspace(0, len(index) - 1, min(MAX_PREDICTED, len(index))).round().astype(int))]
        yield from self._rows(index)

    def _rows(self, index: Any) -> Iterator[dict[str, Any]]:
        columns = self.found.columns(index)
        for i, at in enumerate(index):
            yield entry(self.found.query, columns, i, self._spec(int(at))) | {
                "miou": self._interval(int(at)),
                "miou_source": "predicted (from the trials)",
            }

    def sample(self) -> list[dict[str, Any]]:
        """Candidates spread evenly over the space, by the belief."""
        return list(self._rows(np.arange(0, len(self.found), 1 + len(self.found) // SAMPLE)))

    def _interval(self, index: int) -> dict[str, float]:
        mean, sd = (float(part[index]) for part in self._everywhere)
        reach = NormalDist().inv_cdf((1 + self.found.query.confidence) / 2) * sd
        return {"mean": mean, "low": max(0.0, mean - reach), "high": min(100.0, mean + reach)}

    def _spec(self, index: int) -> Any:
        return self.found.query.space.spec(int(self.found.rows[index]))

    def _differences(self) -> Iterator[dict[str, Any]]:
        """Neighbours on the front, and whether one is really better than the next."""
        for i, (better, worse) in enumerate(zip(self.front, self.front[1:], strict=False)):
            reach = self.noise.reach(len(better.miou), len(worse.miou))
            gap = better.mean - worse.mean
            yield {"ranks": [i + 1, i + 2], "difference": gap, "noise": reach, "exceeds_noise": bool(gap > reach)}

    def trials(self) -> list[dict[str, Any]]:
        """Every trial of both stages, one row each."""
        both = [("search", e) for e in self.study.searched] + [("follow-up", e) for e in self.study.followed]
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
            for stage, e in both
            if not e.void
        ]


def write_findings(study: Studied, folder: Path) -> dict[str, Any]:
    """Write the files of a study that has ended; returns the document of front.json."""
    findings = Findings(study)
    document = findings.document()
    _write(folder / "front.csv", _csv([{k: v for k, v in e.items() if k != "runs"} for e in document["front"]]))
    _write(folder / "trials.csv", _csv(findings.trials()))
    _write(folder / "sample.csv", _csv(findings.sample()))
    _write(folder / "front.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    return document


def _measured(entries: list[Entry], protocol: str) -> list[Measured]:
    runs: dict[int, list[Entry]] = defaultdict(list)
    for one in entries:
        if one.state == "complete" and one.miou is not None:
            runs[one.index].append(one)
    return [
        Measured(index, tuple(e.miou for e in same if e.miou is not None), protocol, same[0].number)
        for index, same in runs.items()
    ]


def _noise(measured: list[Measured], *, exact: bool) -> Noise:
    """Pooled over the candidates that ran more than once; without any, what is assumed of published runs."""
    if exact:
        return Noise(0.0, 0)
    freedom = sum(len(m.miou) - 1 for m in measured)
    if not freedom:
        return Noise(NOISE_SD, 0)
    squares = sum(float(((np.array(m.miou) - m.mean) ** 2).sum()) for m in measured)
    return Noise(float(np.sqrt(squares / freedom)), freedom)


def _counts(entries: list[Entry]) -> dict[str, Any]:
    kept = [e for e in entries if not e.void]
    states = {state: sum(e.state == state for e in kept) for state in ("complete", "stopped", "failed", "running")}
    return {"asked": len(kept), **states, "seconds": round(sum(e.seconds for e in kept), 3)}


def _spelt(about: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in about.items() if value not in ({}, None))
