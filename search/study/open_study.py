"""A study in its folder, open in this process: what it asks for, and the trials of its stages."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from hw_models.predictors import predictor
from search.digests import folder_digest
from search.query import Query
from search.space import digest
from search.study.config import StudyConfig
from search.study.evaluators import Evaluator
from search.study.feasible import FeasibleSet, Progress, feasible_set
from search.study.halving import Halving, rungs
from search.study.observations import history
from search.study.promotion import follow_ups
from search.study.proposals import Exhausted, Proposal, Sampler, Setting
from search.study.samplers import check_spaces, choose
from search.study.storage import FolderLock, open_storage
from search.study.surrogate import Prior, Scale, prior
from search.study.trials import Propose, Trial, Trials
from search.study.workers import Worker

SEARCH, FOLLOW_UP = "search", "follow-up"


@dataclass(frozen=True)
class StudyState:
    """What a study has come to: the trials of both stages, and what was believed at the start and why."""

    feasible: FeasibleSet
    config: StudyConfig
    sampler: str
    why: str
    searched: list[Trial]
    followed: list[Trial]
    own_prior: Prior
    evaluators: tuple[Evaluator, Evaluator]


class OpenStudy:
    """A study in a folder, open in this process."""

    def __init__(self, query: Query, config: StudyConfig, folder: Path, *, progress: Progress | None = None) -> None:
        self.config, self.folder = config, folder
        check_spaces(config.sampler, len(query.space.members))
        self.feasible = feasible_set(query, progress)
        self.short, self.long = config.evaluators(folder, query.space.size)
        self.sampler_name, self.why = self._sampler_name()
        self.halving = Halving(rungs(self.short.epochs) if config.halving else ())
        self.prior = prior(self.feasible, same_protocol=self.short.same_protocol)
        self.scale = Scale()
        self.setting = Setting(self.feasible, self.prior, self.scale, config.seed, config.trials)

    def _sampler_name(self) -> tuple[str, str]:
        if self.config.sampler == "auto":
            return choose(self.config.trials, len(self.feasible))
        return self.config.sampler, "as asked"

    def asked(self) -> dict[str, Any]:
        """What must be the same for two processes to share the search; on the follow-up it does not depend."""
        feasible = self.feasible
        devices = {str(d): folder_digest(predictor(d.name).device.folder) for d in feasible.query.devices}
        identity = {
            **feasible.query.describe(),
            "evaluator": self.short.describe(),
            "sampler": self.sampler_name,
            "seed": self.config.seed,
            "halving": list(self.halving.rungs),
            "devices_sha256": devices,
            "candidates_sha256": sha256(feasible.rows.tobytes()).hexdigest(),
        }
        if self.config.measure_latency:
            identity["measure_latency"] = True
        plain: dict[str, Any] = json.loads(json.dumps(identity))
        return plain

    @contextmanager
    def opened(self) -> Iterator[tuple[Trials, Trials]]:
        """Trials of both stages, while this process is known as a worker."""
        url, identity = self.config.storage, self.asked()
        lock = FolderLock(self.folder)
        storage = open_storage(self.folder, url, lock)
        prefix = "" if url is None else f"zoo-{digest(identity)[:12]}-"
        worker = Worker(self.folder)
        identities = {SEARCH: identity, FOLLOW_UP: identity | {"follow_up": self.long.describe()}}
        try:
            search, follow = (
                Trials(
                    storage,
                    f"{prefix}{stage}",
                    self.feasible,
                    about,
                    lock=lock,
                    worker=worker,
                    shared=url is not None,
                    limit_s=self.config.limit_s,
                )
                for stage, about in identities.items()
            )
            yield search, follow
        finally:
            worker.close()

    def propose(self, sampler: Sampler) -> Propose:
        """The sampler as `Trials.ask` calls it."""

        def proposal(trials: list[Trial]) -> Proposal | None:
            if sum(not trial.void for trial in trials) >= self.config.trials:
                return None
            number = len(trials)
            try:
                proposed = sampler(history(trials, self.feasible), number)
            except Exhausted:
                return None
            return replace(proposed, seed=int(np.random.default_rng([self.config.seed, number, 1]).integers(2**31)))

        return proposal

    def follow(self, searched: Callable[[], list[Trial]]) -> Propose:
        """The follow-up as `Trials.ask` calls it."""

        def proposal(trials: list[Trial]) -> Proposal | None:
            trained = {(trial.index, trial.seed) for trial in trials if not trial.void}
            for index, seed in follow_ups(self.feasible, searched(), trials, self.config):
                if (index, seed) not in trained:
                    return Proposal(index, seed=seed)
            return None

        return proposal

    def goes_on(self, trials: Trials) -> Callable[[int, int, float], bool]:
        """Keeps reports, and says at each rung whether a trial goes on."""

        def decide(number: int, epoch: int, miou: float) -> bool:
            trials.report(number, epoch, miou)
            if epoch not in self.halving.rungs:
                return True
            reached = [trial for trial in trials.all() if epoch in trial.reports]
            at = next(i for i, trial in enumerate(reached) if trial.number == number)
            index = np.array([trial.index for trial in reached])
            return self.halving.goes_on(self.feasible.points(index, [trial.reports[epoch] for trial in reached]), at)

        return decide
