"""The only room that touches Optuna's storage by its private ids; a change of Optuna is mended here.

Optuna's public `ask` and `tell` make a trial in several writes. A process that dies between two of them would leave
half a trial, so that a trial is created from a template that has everything, in one write.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from search.study.storage import reachable


class OptunaStudy:
    """An Optuna study by the numbers of its trials. directions: maximize or minimize, of each objective."""

    def __init__(self, storage: Any, name: str, directions: Sequence[Any]) -> None:
        import optuna

        self.storage, self.name = storage, name
        self.study = optuna.create_study(
            storage=storage, study_name=name, directions=list(directions), load_if_exists=True
        )

    @property
    def attrs(self) -> Mapping[str, Any]:
        """What is kept of the study as a whole."""
        attrs: Mapping[str, Any] = self.study.user_attrs
        return attrs

    def keep(self, key: str, value: Any) -> None:
        """Keep a plain value of the study as a whole."""
        self.storage.set_study_user_attr(self.study._study_id, key, value)

    def name_metrics(self, names: Sequence[str]) -> None:
        """Name the objectives, for optuna-dashboard."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Optuna calls metric names experimental
            self.study.set_metric_names(list(names))

    def trials(self) -> list[Any]:
        """Optuna's frozen trials in the order of their numbers."""
        with reachable(self.name):
            frozen: list[Any] = self.study.get_trials(deepcopy=False)
            return frozen

    def create(self, *, params: Mapping[str, Any], distributions: Mapping[str, Any], **about: Any) -> int:
        """A running trial in one write; returns its number. about: user_attrs and constraints."""
        import optuna

        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, params=dict(params), distributions=dict(distributions), **about
        )
        trial_id = self.storage.create_new_trial(self.study._study_id, template_trial=template)
        return int(self.storage.get_trial(trial_id).number)

    def set_attr(self, number: int, key: str, value: Any) -> None:
        """Keep a plain value of a trial."""
        self.storage.set_trial_user_attr(self._id(number), key, value)

    def set_constraint(self, number: int, key: str, value: float) -> None:
        """Keep anew how far a trial passes a limit; below zero is within. Optuna's own setter keeps the first value."""
        from optuna.study._constrained_optimization import _CONSTRAINTS_KEY

        self.storage.set_trial_system_attr(self._id(number), f"{_CONSTRAINTS_KEY}:{key}", value)

    def report(self, number: int, step: int, value: float) -> None:
        """Keep an intermediate value."""
        self.storage.set_trial_intermediate_value(self._id(number), step, value)

    def attrs_of(self, number: int) -> Mapping[str, Any]:
        """What is kept of a trial."""
        attrs: Mapping[str, Any] = self.storage.get_trial(self._id(number)).user_attrs
        return attrs

    def finished(self, number: int) -> bool:
        """Whether a trial has ended, whoever ended it."""
        return bool(self.storage.get_trial(self._id(number)).state.is_finished())

    def finish(self, number: int, state: str, values: Sequence[float] | None) -> None:
        """End a trial as complete, stopped or failed."""
        import optuna

        states = optuna.trial.TrialState
        ended = {"complete": states.COMPLETE, "stopped": states.PRUNED, "failed": states.FAIL}[state]
        self.storage.set_trial_state_values(self._id(number), ended, values=values)

    def _id(self, number: int) -> int:
        return int(self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number))
