"""The contract of a sampler: proposals depend on their arguments only, and no candidate is proposed twice."""

from functools import cache

import numpy as np

from search.device_at import DeviceAt
from search.query import Query
from search.space import SearchSpace
from search.study.feasible import FeasibleSet, feasible_set
from search.study.samplers import Exhausted, History, Proposal, Sampler, Setting, Tried
from search.study.surrogate import Scale, observations_of, prior
from zoo.bulk.choices import Choices
from zoo.config import Limits

CHOICES = {"variant": ("C", "ESPNet"), "k": (4, 5, 8), "alpha2": (1, 2), "alpha3": (3, 5)}


@cache
def feasible() -> FeasibleSet:
    """Some twenty candidates on a TX2."""
    space = SearchSpace(Choices("espnet", CHOICES), (256, 512))
    return feasible_set(Query(space=space, devices=(DeviceAt("tx2"),), limits=Limits(max_params=300_000)))


class SamplerContract:
    """What holds for every sampler. `make` returns a new one; `trials` are asked of it.

    >>> from search.study.samplers import Random
    >>> class TestRandom(SamplerContract):
    ...     def make(self, setting):
    ...         return Random(setting)
    >>> TestRandom().test_candidates_that_are_running_are_not_proposed()  # pytest runs all of them
    """

    trials = 12

    def make(self, setting: Setting) -> Sampler:
        """A new sampler."""
        raise NotImplementedError

    def sampler(self, seed: int = 0) -> Sampler:
        """One for the candidates of this module."""
        return self.make(Setting(feasible(), prior(feasible(), same_protocol=True), Scale(), seed, self.trials))

    def history(self, proposals: list[Proposal], running: int = 0) -> History:
        """The first proposals measured, the last `running` still running."""
        miou = feasible().miou[:, 1]
        ended = proposals[: len(proposals) - running]
        return History(
            tried=tuple(Tried(p.index, float(miou[p.index]), p.notes) for p in ended),
            observations=observations_of([(p.index, float(miou[p.index]), 0.0) for p in ended]),
            running=np.array([p.index for p in proposals[len(ended) :]], np.int64),
            taken=np.array([p.index for p in proposals], np.int64),
        )

    def proposals(self, sampler: Sampler, count: int, running: int = 0) -> list[Proposal]:
        """The proposals of a study, of which `running` trials are open at a time."""
        out: list[Proposal] = []
        for number in range(count):
            out.append(sampler(self.history(out, min(running, len(out))), number))
        return out

    def test_it_has_a_name(self) -> None:
        assert self.sampler().name

    def test_every_candidate_is_proposed_once_and_then_it_is_exhausted(self) -> None:
        import pytest

        sampler, count = self.sampler(), len(feasible())
        proposed = self.proposals(sampler, count)
        assert sorted(p.index for p in proposed) == list(range(count))
        with pytest.raises(Exhausted):
            sampler(self.history(proposed), count)

    def test_candidates_that_are_running_are_not_proposed(self) -> None:
        proposed = [p.index for p in self.proposals(self.sampler(), self.trials, running=3)]
        assert len(set(proposed)) == self.trials

    def test_same_seed_gives_the_same_proposals(self) -> None:
        assert self.proposals(self.sampler(3), self.trials) == self.proposals(self.sampler(3), self.trials)

    def test_a_new_sampler_resumes_where_another_stopped(self) -> None:
        whole = self.proposals(self.sampler(), self.trials)
        half = self.trials // 2
        assert self.sampler()(self.history(whole[:half]), half) == whole[half]

    def test_notes_are_plain_values(self) -> None:
        import json

        for proposal in self.proposals(self.sampler(), 3):
            assert json.loads(json.dumps(dict(proposal.notes), allow_nan=False)) == dict(proposal.notes)
