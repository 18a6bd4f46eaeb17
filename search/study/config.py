"""Settings of a study, and what its folder keeps of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from search.study.evaluators import Evaluator, Published, Train
from search.study.samplers import check_sampler
from search.study.storage import absolute, masked
from zoo.errors import ConfigError
from zoo.specs import mismatch

PLAN = "study.json"

MOST = 2**32 - 1
"""Largest whole number of a plan."""

MEASURED = ("published", "train")
"""Where the mIOU of a trial may come from."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a study goes about its question; plain values, which the run's folder keeps.

    trials: of the search. budget_s: seconds for everything. limit_s: for one trial. promote: how many train by
    the long protocol. repeats: with how many other seeds the front's members train again. storage: URL of an
    Optuna storage, None for a journal in the folder. epochs, long_epochs, size (height, width), recipe, changes,
    train_on, threads: of the training.
    """

    sampler: str = "auto"
    trials: int = 30
    seed: int = 0
    budget_s: float | None = None
    limit_s: float | None = None
    storage: str | None = None
    accuracy: str = "published"
    dataset: str | None = None
    data: str | None = None
    epochs: int = 10
    long_epochs: int = 40
    size: tuple[int, int] = (360, 480)
    recipe: str = "zoo"
    changes: Mapping[str, Any] | None = None
    train_on: str = "cpu"
    threads: int = 1
    halving: bool = True
    promote: int = 4
    repeats: int = 2

    def __post_init__(self) -> None:
        check_sampler(self.sampler)
        if self.storage is not None:
            object.__setattr__(self, "storage", absolute(self.storage))
        if self.accuracy not in MEASURED:
            raise ConfigError(f"accuracy {self.accuracy!r}: a study measures by one of {', '.join(MEASURED)}")
        if self.accuracy == "train" and not self.dataset:
            raise ConfigError("--accuracy train needs a data set; name it with --dataset (and --data)")
        low = {"trials": 1, "epochs": 1, "long_epochs": 1, "seed": 0, "promote": 0, "repeats": 0, "threads": 1}
        for name, least in low.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= MOST:
                raise ConfigError(f"{name} must be at least {least} and at most {MOST}, but is {value!r}")

    def evaluators(self, folder: Path) -> tuple[Evaluator, Evaluator]:
        """Short and long protocol."""
        if self.accuracy == "published":
            return Published(), Published()
        short = Train(
            dataset=self.dataset or "",
            data=self.data,
            epochs=self.epochs,
            size=self.size,
            folder=(folder / "trained" / "short").resolve(),
            recipe=self.recipe,
            changes=self.changes,
            device=self.train_on,
            threads=self.threads,
        )
        return short, replace(short, epochs=self.long_epochs, folder=(folder / "trained" / "long").resolve())

    def document(self) -> dict[str, Any]:
        """Plain values for JSON, without the storage's password."""
        return asdict(self) | {"size": list(self.size), "storage": self.storage and masked(self.storage)}


def plan_from(document: Mapping[str, Any]) -> Plan:
    """The plan that `Plan.document` described. Raises ConfigError for a damaged one."""
    try:
        values = {**document, "size": tuple(document["size"])}
        for name, hint in get_type_hints(Plan).items():
            wrong = mismatch(values.get(name), hint) if name in values and name not in ("changes", "size") else None
            if wrong:
                raise TypeError(f"{name}: {wrong}")
        return Plan(**values)
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{PLAN}: is damaged ({error}); start the study again in another folder") from None
