"""A data set read once from end to end: what is in it, and what is wrong with it.

Nothing is repaired and nothing raised for a single file: every problem is listed with the file that has it.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.classes import BLACK, LabelSet
from zoo.data.datasets import GENERATED, data_set
from zoo.data.split import DataError, Pixels, Split, orientations
from zoo.errors import ZooError
from zoo.evaluate.metrics import VOID
from zoo.reading import exists
from zoo.text import one_line

SPLITS = ("train", "val", "test", "trainval", "trainaug")
"""Splits that are looked for unless one is named."""

MAX_PROBLEMS = 1000
"""Most problems that are listed."""

RARE = 1e-4
"""Share of the pixels under which a class is said to be rare."""

KNOWN_SPLITS: Mapping[str, Mapping[str, str]] = {
    "camvid, the SegNet split (367 train, 101 val, 233 test; 11 classes at 480x360)": {
        "train": "07e685a27911965c9ed3e81e4b8f016112f5d12b10466b3f5d40a362cd2cf253",
        "val": "76fa530e818b0bb8716bb9d9ebfdde4e908e8ee9c8850ff65af4e512bb233481",
    },
}
"""Splits of papers, by SHA-256 of the sorted names of their images without suffix, one a line.

Of the SegNet split as its folders hold it (arXiv:1511.00561 has 367 images for training and 233 for testing).
"""

Progress = Callable[[int, int], None]


@dataclass
class SplitReport:
    """What is in one split. sizes: images by WIDTHxHEIGHT. pixels: of each class. void: pixels without a label."""

    images: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(VOID + 1, np.int64))
    empty: int = 0
    hash: str | None = None

    @property
    def void(self) -> int:
        """Pixels without a label."""
        return int(self.pixels[VOID])

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        total = max(1, int(self.pixels.sum()))
        return {
            "images": self.images,
            "sizes": dict(self.sizes.most_common()),
            "void_share": self.void / total,
            "without_a_label": self.empty,
            "names_sha256": self.hash,
        }


@dataclass
class Report:
    """What is in a data set. problems: file and what is wrong with it. notes: what is worth knowing and not wrong."""

    labels: LabelSet | None = None
    splits: dict[str, SplitReport] = field(default_factory=dict)
    problems: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    samples: list[tuple[str, Pixels, Pixels]] = field(default_factory=list)

    @property
    def shares(self) -> dict[str, float]:
        """Share of each class in the labelled pixels of all splits."""
        if self.labels is None:
            return {}
        counts = sum((report.pixels for report in self.splits.values()), np.zeros(VOID + 1, np.int64))
        class_counts = counts[: len(self.labels.classes)]
        return dict(zip(self.labels.classes, (class_counts / max(1, int(class_counts.sum()))).tolist(), strict=True))

    @property
    def known_split(self) -> str | None:
        """The paper's split that this is, by the names of its images."""
        hashes = {name: report.hash for name, report in self.splits.items()}
        for title, split_hashes in KNOWN_SPLITS.items():
            if all(hashes.get(name) == value for name, value in split_hashes.items()):
                return title
        return None

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "images": sum(report.images for report in self.splits.values()),
            "classes": list(self.labels.classes) if self.labels else [],
            "shares": self.shares,
            "problems": self.problems,
            "split": self.known_split,
            "splits": {name: report.document() for name, report in self.splits.items()},
            "notes": self.notes,
        }

    def problem(self, file: object, text: str) -> None:
        """Enter a problem; beyond `MAX_PROBLEMS` they are only counted by the last one."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append({"file": one_line(file, 300), "problem": one_line(text, 400)})


def check(
    name: str,
    root: Path | None,
    splits: Sequence[str] = (),
    *,
    samples: int = 0,
    progress: Progress = lambda checked, total: None,
) -> Report:
    """Read every sample of a data set once. Raises DataError where no split is there at all.

    splits: those to read; all of `SPLITS` that are there unless some are named. samples: images with their labels that
    are kept for a picture, spread evenly.
    """
    report = Report()
    opened = _opened(report, name, root, splits)
    total, checked = sum(len(data) for data in opened.values()), 0
    every = max(1, total // samples) if samples else 0
    for split, data in opened.items():
        report.labels = report.labels or data.labels
        own = report.splits[split] = SplitReport(images=len(data), hash=names_hash(data))
        for index in range(len(data)):
            if every and checked % every == 0 and len(report.samples) < samples:
                _read(report, own, data, index, keep=f"{split} {index}")
            else:
                _read(report, own, data, index)
            checked += 1
            progress(checked, total)
    _judge(report)
    _note_exif(report, opened)
    return report


def _opened(report: Report, name: str, root: Path | None, splits: Sequence[str]) -> dict[str, Split]:
    opened: dict[str, Split] = {}
    first: DataError | None = None
    for split in splits or SPLITS:
        try:
            opened[split] = data_set(name, root, split)
        except DataError as error:
            first = first or error
            if splits or _is_there(name, root, split):
                report.problem(root or name, str(error))
    if not opened and (not report.problems or not splits) and first is not None and not report.problems:
        raise first
    return opened


def _is_there(name: str, root: Path | None, split: str) -> bool:
    """Whether a split was meant to be there: then what is wrong with it is a problem."""
    if name in GENERATED or root is None:
        return False
    return any(exists(root / place) for place in (split, f"{split}annot", f"{split}.txt", f"leftImg8bit/{split}"))


def names_hash(data: Split) -> str | None:
    """SHA-256 of the sorted names of a split's images without suffix, one a line; None for generated ones."""
    files = getattr(data, "samples", None)
    if not files or not hasattr(files[0], "image"):
        return None
    return hashlib.sha256("\n".join(sorted(sample.image.stem for sample in files)).encode()).hexdigest()


def _read(report: Report, own: SplitReport, data: Split, index: int, keep: str | None = None) -> None:
    try:
        image, labels = data.load(index)
    except (ZooError, OSError, MemoryError) as error:
        report.problem(_file(data, index), str(error) or type(error).__name__)
        return
    own.sizes[f"{image.shape[1]}x{image.shape[0]}"] += 1
    if labels.dtype != np.uint8:  # a class an image
        own.pixels[: len(data.labels.classes)] += np.bincount(labels.ravel(), minlength=len(data.labels.classes))[:VOID]
        return
    counts = np.bincount(labels.ravel(), minlength=VOID + 1)
    own.pixels += counts
    if not counts[:VOID].any():
        own.empty += 1
    if keep is not None:
        report.samples.append((keep, image, labels))


def _file(data: Split, index: int) -> str:
    windows = getattr(data, "windows", None)
    files = getattr(data, "samples", None)
    if files is None:
        return f"{data.name} {data.split} {index}"
    sample = files[windows[index][0]] if windows else files[index]
    return str(getattr(sample, "image", sample))


def _judge(report: Report) -> None:
    """Notes on classes and pixels that training will trip over."""
    for name, own in report.splits.items():
        if own.empty:
            report.notes.append(f"{name}: {own.empty} of {own.images} samples have no labelled pixel")
        if len(own.sizes) > 1:
            report.notes.append(f"{name}: images of {len(own.sizes)} sizes")
    for name, share in report.shares.items():
        if share < RARE:
            share_text = "never occurs" if not share else f"has {share:.4%} of the pixels"
            report.notes.append(f"class {one_line(name)}: {share_text}")


def _note_exif(report: Report, opened: Mapping[str, Split]) -> None:
    """Say where images carry an orientation that their masks lack: these are taken as drawn on the upright image."""
    for split, data in opened.items():
        count = 0
        for sample in getattr(data, "samples", ()):
            if not hasattr(sample, "mask"):
                break
            try:
                image, mask = orientations(sample)
            except DataError:
                continue
            count += image != mask
        if count:
            report.notes.append(
                f"{split}: {count} images carry another EXIF orientation than their masks; each is turned by its own, "
                "so that such a mask must have been drawn on the upright image; exif: ignore turns neither"
            )


def picture(report: Report, width: int = 320) -> Pixels:
    """Samples one below the other, each beside its labels in their colours, void black: (H, W, 3)."""
    from PIL import Image

    if not report.samples or report.labels is None:
        raise DataError("no sample could be read, so there is no picture of any; see the problems")
    colours = np.zeros((VOID + 1, 3), np.uint8)
    colours[: len(report.labels.colours)] = report.labels.colours
    colours[VOID] = BLACK
    rows = []
    for _, image, labels in report.samples:
        height = min(4 * width, max(1, round(width * image.shape[0] / image.shape[1])))
        left = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        right = Image.fromarray(colours[labels]).resize((width, height), Image.Resampling.NEAREST)
        row = np.full((height + 4, 2 * width + 4, 3), 255, np.uint8)
        row[:height, :width], row[:height, width + 4 :] = np.asarray(left), np.asarray(right)
        rows.append(row)
    return np.concatenate(rows)
