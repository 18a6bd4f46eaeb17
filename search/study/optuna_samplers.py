"""Optuna's samplers: each proposes a point of the grid of choices, from a copy of the study.

The point is moved to the nearest candidate of its space that was not tried yet.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from search.study.feasible import SPACE, Member
from search.study.proposals import History, Proposal, Sampler, Setting, Tried, generator, untried
from zoo.bulk.choices import Ints

ONE_SPACE = ("gp",)
"""Samplers of Optuna that only know parameters which every trial has."""


class FromOptuna:
    """One of Optuna's samplers, run on a copy of the study and moved into the feasible set.

    define_by_run: whether, of several spaces, a trial has the parameters of its own space only. Otherwise it has those
    of all; the parameters of other spaces have no effect and are drawn at random.
    """

    def __init__(self, name: str, make: Callable[[int], Any], setting: Setting, *, define_by_run: bool = False) -> None:
        import optuna

        self.name, self.make, self.setting, self.feasible = name, make, setting, setting.feasible
        self.define_by_run = define_by_run and len(self.feasible.members) > 1
        self.distributions: dict[str, Any] = {
            parameter: optuna.distributions.IntDistribution(0, count - 1)
            for parameter, count in self.feasible.counts.items()
        }
        if len(self.feasible.members) > 1:
            labels = self.feasible.query.space.labels
            self.distributions = {SPACE: optuna.distributions.CategoricalDistribution(labels)} | self.distributions

    def __call__(self, history: History, number: int) -> Proposal:
        import optuna

        left = untried(len(self.feasible), history)
        randomness = generator(self.setting.seed, number)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Optuna calls a sampler experimental
            sampler = self.make(int(randomness.integers(2**31)))
        study = optuna.create_study(directions=["minimize"] * (self.feasible.known.shape[1] + 1), sampler=sampler)
        for tried in history.tried:
            study.add_trial(self._trial(tried))
        params = self._ask(study)
        notes = {k: v for k, v in study.trials[-1].system_attrs.items() if isinstance(v, (int, float, str))}
        return Proposal(self._nearest(params, left, randomness), notes)

    def _ask(self, study: Any) -> Mapping[str, Any]:
        """The parameters that the sampler proposes."""
        if not self.define_by_run:
            params: Mapping[str, Any] = study.ask(self.distributions).params
            return params
        trial = study.ask()
        label = trial.suggest_categorical(SPACE, list(self.feasible.query.space.labels))
        member = self._member(label)
        for name, count in member.counts.items():
            trial.suggest_int(self.feasible.parameter(member, name), 0, count - 1)
        asked: Mapping[str, Any] = trial.params
        return asked

    def _trial(self, tried: Tried) -> Any:
        import optuna

        params = self.feasible.params(tried.index)
        if not self.define_by_run:
            params = self._without_effect(tried.index) | params
        return optuna.trial.create_trial(
            params=params,
            distributions={name: self.distributions[name] for name in params},
            values=self.feasible.points(tried.index, tried.miou).tolist(),
            system_attrs=dict(tried.notes),
        )

    def _without_effect(self, index: int) -> dict[str, int]:
        """A value of every parameter, for those of other spaces than the candidate's."""
        counts = self.feasible.counts
        codes = np.random.default_rng([self.setting.seed, index, 2]).integers(list(counts.values()))
        return dict(zip(counts, codes.tolist(), strict=True))

    def _member(self, label: str | None) -> Member:
        """The space that a label names; without one the only space."""
        members = self.feasible.members
        return members[0] if label is None else next(member for member in members if member.label == label)

    def _nearest(self, params: Mapping[str, Any], left: Ints, randomness: np.random.Generator) -> int:
        """The nearest candidate of the proposed space; a random one where none of that space is left."""
        member = self._member(params.get(SPACE))
        own = left[(left >= member.start) & (left < member.stop)]
        if not len(own):
            return int(randomness.choice(left))
        names = {self.feasible.parameter(member, name) for name in member.counts}
        target = [params[name] / (n - 1) if name in names else 0.0 for name, n in self.feasible.counts.items()]
        distance = np.abs(self.feasible.positions[own] - np.array(target or [0.0])).sum(axis=1)
        nearest = own[distance <= distance.min() + 1e-12]
        return int(randomness.choice(nearest))


def sampler_of_optuna(name: str) -> Callable[[Setting], Sampler]:
    """Makes the sampler of a name."""

    def make(setting: Setting) -> Sampler:
        import optuna

        several = len(setting.feasible.members) > 1
        population = int(np.clip(setting.trials // 5, 8, 50))
        kinds: Mapping[str, Callable[[int], Any]] = {
            "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=several),
            "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=population),
            "nsga3": lambda seed: optuna.samplers.NSGAIIISampler(seed=seed, population_size=population),
            "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
        }
        return FromOptuna(name, kinds[name], setting, define_by_run=name == "tpe")

    return make
