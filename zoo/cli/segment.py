"""`zoo segment`: a network at work on images."""

import argparse
import contextlib
import glob
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.backends.choice import CHOICES, threads_of
from zoo.cli.command import (
    MODEL_HELP,
    Arguments,
    Command,
    add_size,
    config_of,
    count_argument,
    emit,
    note,
    positive_argument,
    probability_argument,
    usage,
)
from zoo.cli.outputs import add_force, check_outputs
from zoo.cli.video import outputs_of, segment_video, source_of
from zoo.errors import ZooError
from zoo.progress import tracked

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from search.opening import Opened, Taken
    from zoo.backends.session import Engine
    from zoo.inference.overlay import Legend
    from zoo.inference.segment import Settings
    from zoo.network import Network

SHOWN_CLASSES = 4
"""Classes named for each image in the printed table."""

MOST_WORKERS = 4
"""Images at once unless more are asked for: each needs memory for its activations and its pixels."""

ENDINGS = (".labels.png", ".overlay.png", ".probabilities.npz")
"""Endings of the files written, which are no images to segment when their folder is given again."""

NO_IMAGES = (*ENDINGS, ".truth.png")
"""Those, and of the labels that `zoo scene` writes."""

UNCALIBRATED = "temperature 1: these weights were not calibrated; zoo eval --calibration fits a --temperature"

TILES_HELP = (
    "work in NxN pixels of the image at its own resolution; memory is then that of one tile and 8 bytes for each "
    "pixel of the image, for each worker: 1 GB for 120 megapixels"
)

MODEL = "espnet"
"""What segments where nothing else is named: its weights ship with the package."""

PNG_LEVEL = 6
"""Of zlib's ten, which is what Pillow takes for overlays."""


def add_backend(parser: argparse.ArgumentParser, default: str, choices: Iterable[str] = CHOICES) -> None:
    """--backend."""
    parser.add_argument("--backend", choices=tuple(choices), default=default, help=f"what runs it (default {default})")


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device of torch."""
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu (default), or cuda or cuda:N in torch")


def _configure(parser: argparse.ArgumentParser) -> None:
    kinds = "PNG, JPEG, TIFF, BMP, WebP, PPM, GIF, folders of them and of folders, patterns such as '*.png', or a video"
    parser.add_argument("images", metavar="IMAGE|DIR|VIDEO", nargs="*", help=kinds)
    parser.add_argument("--model", default=MODEL, metavar="MODEL", help=f"{MODEL_HELP} (default: {MODEL})")
    parser.add_argument("-o", "--out", type=Path, default=Path(), metavar="DIR", help="where to write (default: here)")
    add_force(parser)
    parser.add_argument("--overlay", action="store_true", help="also write the image in the classes' colours")
    parser.add_argument(
        "--probabilities", action="store_true", help="also write the probability of each class at each pixel, as .npz"
    )
    parser.add_argument(
        "--temperature",
        type=positive_argument,
        metavar="T",
        help="what logits are divided by for the probabilities (default: what was fitted for the weights, or 1)",
    )
    parser.add_argument("--legend", action="store_true", help="put a legend below the overlay, which makes it taller")
    add_size(parser, default=None)
    parser.add_argument(
        "--labels-at",
        choices=("image", "network"),
        default="image",
        help="size of the label map: the image's own (default) or the network's input",
    )
    parser.add_argument("--tile", type=int, metavar="N", help=TILES_HELP)
    parser.add_argument("--overlap", type=int, metavar="M", help="pixels that neighbouring tiles share (default: N/4)")
    add_backend(parser, "auto")
    add_device(parser)
    parser.add_argument("--threads", type=count_argument, metavar="N", help="threads in all (default: all cores)")
    parser.add_argument(
        "--workers", type=count_argument, metavar="N", help=f"images at once (default: threads, at most {MOST_WORKERS})"
    )
    parser.add_argument(
        "--png-level",
        type=int,
        choices=range(10),
        metavar="0-9",
        help=f"how hard PNG files are compressed: 1 is fast, 9 small (default: {PNG_LEVEL}, label maps by runs alone)",
    )
    parser.add_argument("--camera", metavar="NAME", help="segment a camera's frames, as of /dev/video0, until Ctrl-C")
    parser.add_argument("--frames", type=count_argument, metavar="N", help="end a video or a camera after N frames")
    smooth = "share of the logits before that stays in those of a frame, 0 to below 1 (default 0): steadier labels"
    parser.add_argument("--smooth", type=probability_argument, metavar="A", help=smooth)
    parser.add_argument("--resume", action="store_true", help="leave out images whose outputs exist (default: replace)")


class _Job(NamedTuple):
    """What is done with every image."""

    module: "Network"
    taken: "Taken"
    engine: "Engine | _Given"
    settings: "Settings"
    key: "Legend"
    outputs: "dict[Path, _Outputs]"
    legend: bool
    png_level: int | None
    temperature: float | None
    track: Callable[[list[Any]], Iterable[Any]]


class _Outputs(NamedTuple):
    """Files that are written for an image; None for what was not asked for."""

    labels: Path
    overlay: Path | None
    probabilities: Path | None

    @property
    def wanted(self) -> list[Path]:
        """Those that are written."""
        return [path for path in self if path is not None]


def _segment(args: Arguments) -> int:
    from zoo.inference.images import ImageError
    from zoo.inference.pipeline import WAITING, images_in, in_order

    source = source_of(args)
    if source is not None:
        return _segment_source(args, source)
    if not args.images:
        raise usage("give an image, a folder, a video, or --camera NAME")
    for name in ("frames", "smooth"):
        if getattr(args, name) is not None:
            raise ZooError(f"--{name} is for a video or a camera; leave it out")
    images = images_in(_paths(args.images), NO_IMAGES)
    outputs = _outputs(args, images)
    if args.resume:
        images = _missing(images, outputs)
    check_outputs(args, *(path for image in images for path in outputs[image].wanted))
    job = _job(args, len(images), outputs)
    rows, failed, start = list[dict[str, Any]](), list[Path](), time.monotonic()
    at_once = job.engine.streams + WAITING if len(images) > 1 and args.workers != 1 else 1
    outcomes = in_order(images, lambda image: _segment_one(job, image), at_once)
    for image, outcome in tracked(outcomes, "images", len(images)) if len(images) > 1 else outcomes:
        if isinstance(outcome, ImageError):
            note(f"zoo: {outcome}")
            failed.append(image)
        else:
            rows.append(outcome)
    _say_end(rows, failed, time.monotonic() - start)
    emit(args, rows, lambda console: _print_segmented(console, rows, job.taken))
    return 1 if failed else 0


def _segment_source(args: Arguments, source: str) -> int:
    """A video or a camera."""
    labels, overlay = outputs_of(args, source)
    check_outputs(args, *(path for path in (labels, overlay) if path))
    job = _job(args, 1, {})
    row = segment_video(args, job, source, labels, overlay)
    emit(args, [row], lambda console: _print_segmented(console, [row | {"probabilities": None}], job.taken))
    return 0


def _paths(texts: Iterable[str]) -> Iterator[Path]:
    """Files and folders that the texts name; patterns are expanded as a shell does. Raises ZooError."""
    for text in texts:
        if "://" in text:
            raise ZooError(f"{text}: a URL is not fetched; save the image and give its file")
        if glob.has_magic(text) and not Path(text).exists():
            matches = sorted(x for x in glob.glob(text, recursive=True) if not x.endswith(NO_IMAGES))  # noqa: PTH207
            if not matches:
                raise ZooError(f"{text}: the pattern fits no image; check it, ** goes through folders")
            yield from map(Path, matches)
        else:
            yield Path(text)


def _outputs(args: Arguments, images: list[Path]) -> dict[Path, _Outputs]:
    from zoo.inference.overlay import output_paths

    labels, overlays, probabilities = (output_paths(images, args.out, ending) for ending in ENDINGS)
    return {
        image: _Outputs(label, overlay if args.overlay else None, npz if args.probabilities else None)
        for image, label, overlay, npz in zip(images, labels, overlays, probabilities, strict=True)
    }


def _missing(images: list[Path], outputs: dict[Path, _Outputs]) -> list[Path]:
    """The images that lack an output; outputs are written whole, so one that is there is complete."""
    left = [image for image in images if not all(path.exists() for path in outputs[image].wanted)]
    if len(left) < len(images):
        note(f"zoo: {len(images) - len(left)} of {len(images)} images have their outputs and are left out")
    return left


def _job(args: Arguments, images: int, outputs: dict[Path, _Outputs]) -> _Job:
    from search.model_ref import resolve
    from search.opening import open_model, open_onnx
    from zoo.inference.overlay import legend
    from zoo.inference.segment import Settings, fitting

    settings = Settings(size=args.size, labels_at=args.labels_at, tile=args.tile, overlap=args.overlap)
    model = resolve(args.model, config_of(args))
    opened = open_onnx(model) if model.kind == "onnx" else open_model(model)
    module, temperature = opened.module, _temperature(args, opened)
    key = legend(opened.labels, module.graph.output_shapes[0].channels)
    most = max(1, min(images, threads_of(args.threads), MOST_WORKERS))
    workers = min(args.workers, max(1, images)) if args.workers else fitting(module, settings, most)
    engine = _engine(args, opened, workers)
    tracks_tiles = images == 1 and args.tile is not None
    track = _tiles if tracks_tiles else list
    return _Job(module, opened.taken, engine, settings, key, outputs, args.legend, args.png_level, temperature, track)


def _temperature(args: Arguments, opened: "Opened") -> float | None:
    """The temperature of the probabilities, None where none are wanted. Raises ZooError for a file without logits."""
    if not args.probabilities:
        if args.temperature:
            raise ZooError("--temperature is of the probabilities; give --probabilities too")
        return None
    if opened.gives_labels:
        raise ZooError(f"{opened.taken.name}: gives labels and no logits; export it without --with-argmax")
    if args.temperature is not None:
        return float(args.temperature)
    calibration = opened.taken.calibration
    note(f"zoo: probabilities: {calibration or UNCALIBRATED}")
    return calibration.temperature if calibration else 1.0


@dataclass(frozen=True, slots=True)
class _Given:
    """A network that is run in one way only, in the place of an `Engine`."""

    run: "Callable[[Tensor], Any]"
    backend: str
    threads: int
    streams: int = 1

    def __call__(self, images: "Tensor") -> Any:
        return self.run(images)


def _engine(args: Arguments, opened: "Opened", workers: int) -> "Engine | _Given":
    """What runs the network. Raises ZooError where --backend and --device exclude each other."""
    from search.opening import torch_device
    from zoo.backends.session import Engine
    from zoo.inference.segment import plain

    threads = threads_of(args.threads, workers)
    device = torch_device(args.device) if args.device != "cpu" else "cpu"
    if opened.run is not None:
        if args.backend not in ("auto", "onnxruntime") or device != "cpu":
            raise ZooError("an ONNX file is run by onnxruntime on the CPU; leave out --backend and --device")
        return _Given(opened.run, "onnxruntime", threads, workers)
    if device == "cpu":
        preprocessing = opened.module.preprocessing
        return Engine(opened.module, args.backend, threads, streams=workers, say=_say, preprocessing=preprocessing)
    if args.backend not in ("auto", "torch"):
        raise ZooError(f"--device {device} is for torch and not for {args.backend}; leave out one of them")
    return _Given(plain(opened.module.to(device)), f"torch on {device}", threads, workers)


def _say(message: str) -> None:
    note(f"zoo: {message}")


def _segment_one(job: _Job, image: Path) -> dict[str, Any]:
    import torch

    from zoo.inference.overlay import save_labels, save_overlay
    from zoo.inference.probabilities import Probabilities, save_probabilities
    from zoo.inference.segment import segment_file, shares

    torch.set_num_threads(job.engine.threads)  # which it keeps for each thread apart
    chances = Probabilities(job.temperature) if job.temperature else None
    pixels, label_map = segment_file(
        job.module,
        image,
        job.settings,
        track=job.track,
        run=job.engine,
        workers=job.engine.streams,
        probabilities=chances,
    )
    labels, overlay, npz = job.outputs[image]
    save_labels(labels, label_map, job.key, level=job.png_level)
    if overlay:
        level = PNG_LEVEL if job.png_level is None else job.png_level
        save_overlay(overlay, pixels, label_map, job.key, legend=job.legend, level=level)
    if npz and chances:
        save_probabilities(npz, chances, job.key.names)
    return {
        "image": str(image),
        "labels": str(labels),
        "overlay": str(overlay) if overlay else None,
        "probabilities": str(npz) if npz else None,
        "temperature": job.temperature,
        "size": f"{label_map.shape[1]}x{label_map.shape[0]}",
        "shares": shares(label_map, job.key.names),
        "backend": job.engine.backend,
        **job.taken.document(),
        "peak_memory_bytes": _peak_memory(),
    }


def _peak_memory() -> int | None:
    """Most memory that this process had so far, in bytes; None where the system does not say."""
    with contextlib.suppress(OSError, StopIteration):
        # Linux hands the resource usage of a parent down to a child.
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _tiles(tiles: list[Any]) -> Iterable[Any]:
    return tracked(tiles, "tiles", len(tiles))


def _say_end(rows: list[dict[str, Any]], failed: list[Path], seconds: float) -> None:
    if len(rows) > 1:
        note(f"zoo: {len(rows)} images in {seconds:.1f} s, {len(rows) / seconds:.3g} a second")
    if failed and len(rows) + len(failed) > 1:
        names = ", ".join(map(str, failed))
        note(f"zoo: {len(failed)} of {len(rows) + len(failed)} images were not segmented: {names}")


def _print_segmented(console: "Console", rows: list[dict[str, Any]], weights: "Taken") -> None:
    if rows:
        console.print(f"weights: {weights}", markup=False)
    for row in rows:
        outputs = " and ".join(path for path in (row["labels"], row["overlay"], row["probabilities"]) if path)
        console.print(f"{row['image']} ({row['size']}): {_largest(row['shares'])}\n  {outputs}", markup=False)


def _largest(shares: dict[str, float]) -> str:
    first = sorted(shares.items(), key=lambda item: -item[1])[:SHOWN_CLASSES]
    return ", ".join(f"{name} {share:.0%}" for name, share in first if share)


def _quietly(args: Arguments) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow remarks on odd files, which either decode or raise
        return _segment(args)


COMMANDS = (
    Command(
        "segment",
        "label every pixel of images",
        "zoo segment street.png --model espnet.cityscapes --overlay -o out",
        _quietly,
        _configure,
    ),
)
