"""Settings of a study, and what its folder keeps of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from search.study.evaluators import Evaluator, Published, Train
from search.study.samplers import check_sampler
from search.study.storage import absolute, masked
from zoo.config_study import StudyOptions
from zoo.errors import ConfigError
from zoo.specs import mismatch

STUDY_FILE = "study.json"

MEASURED = ("published", "train")
"""Where the mIOU of a trial may come from."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig(StudyOptions):
    """The options of a study, checked, with what they make."""

    def __post_init__(self) -> None:
        check_sampler(self.sampler)
        if self.storage is not None:
            object.__setattr__(self, "storage", absolute(self.storage))
        if self.accuracy not in MEASURED:
            raise ConfigError(f"accuracy {self.accuracy!r}: a study measures by one of {', '.join(MEASURED)}")
        if self.accuracy == "train" and not self.dataset:
            raise ConfigError("--accuracy train needs a data set; name it with --dataset (and --data)")
        super().__post_init__()

    def evaluators(self, folder: Path, images: tuple[int, int]) -> tuple[Evaluator, Evaluator]:
        """Short and long protocol. images: (height, width) that the query's networks take."""
        if self.accuracy == "published":
            return Published(images=images), Published(images=images)
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


def config_from(document: Mapping[str, Any]) -> StudyConfig:
    """The plan that `StudyConfig.document` described. Raises ConfigError for a damaged one."""
    try:
        values = {**document, "size": tuple(document["size"])}
        for name, hint in get_type_hints(StudyConfig).items():
            wrong = mismatch(values.get(name), hint) if name in values and name not in ("changes", "size") else None
            if wrong:
                raise TypeError(f"{name}: {wrong}")
        return StudyConfig(**values)
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{STUDY_FILE}: is damaged ({error}); start the study again in another folder") from None
