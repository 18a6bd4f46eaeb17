"""`zoo segment` and `zoo export`: a network at work, and a network to take away."""

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import Arguments, Command, add_model, add_size, config_of, emit, model_of, note
from zoo.errors import ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from pretrained.weights import PretrainedNetwork
    from zoo.network import Network
    from zoo.overlay import Legend
    from zoo.resolve import Model
    from zoo.segment import Settings

SHOWN_CLASSES = 4
"""Classes named for each image in the printed table."""


def _configure_segment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="PNG, JPEG, TIFF, BMP, WebP, PPM, GIF")
    parser.add_argument("--model", required=True, metavar="MODEL.TAG", help="a model with weights, see `zoo list`")
    parser.add_argument("-o", "--out", type=Path, default=Path(), metavar="DIR", help="where to write (default: here)")
    parser.add_argument("--overlay", action="store_true", help="also write the image in the classes' colours")
    add_size(parser, default=None)
    parser.add_argument(
        "--labels-at",
        choices=("image", "network"),
        default="image",
        help="size of the label map: the image's own (default) or the network's input",
    )
    parser.add_argument("--tile", type=int, metavar="N", help="work in NxN pixels of the image at its own resolution")
    parser.add_argument("--overlap", type=int, metavar="M", help="pixels that neighbouring tiles share (default: N/4)")


def _segment(args: Arguments) -> int:
    from zoo.data.labels import label_set
    from zoo.images import ImageError
    from zoo.overlay import legend, output_paths
    from zoo.resolve import resolve
    from zoo.segment import Settings

    settings = Settings(size=args.size, labels_at=args.labels_at, tile=args.tile, overlap=args.overlap)
    module = _trained(resolve(args.model, config_of(args)))
    key = legend(label_set(module.labels), module.graph.output_shapes[0].channels)
    rows, failed = [], False
    labels_at = output_paths(args.images, args.out, ".labels.png")
    overlays_at = output_paths(args.images, args.out, ".overlay.png") if args.overlay else [None] * len(labels_at)
    for image, labels, overlay in zip(args.images, labels_at, overlays_at, strict=True):
        try:
            rows.append(_segment_one(module, settings, key, image, labels, overlay))
        except ImageError as error:
            note(f"zoo: {error}")
            failed = True
    emit(args, rows, lambda console: _print_segmented(console, rows))
    return 1 if failed else 0


def _segment_one(
    module: "Network", settings: "Settings", key: "Legend", image: Path, labels: Path, overlay: Path | None
) -> dict[str, Any]:
    from zoo.overlay import save_labels, save_overlay
    from zoo.segment import segment_file, shares

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow remarks on odd files, which either decode or raise
        pixels, found = segment_file(module, image, settings, track=_progress)
    save_labels(labels, found, key)
    if overlay:
        save_overlay(overlay, pixels, found, key)
    return {
        "image": str(image),
        "labels": str(labels),
        "overlay": str(overlay) if overlay else None,
        "size": f"{found.shape[1]}x{found.shape[0]}",
        "shares": shares(found, key.names),
    }


def _progress(tiles: list[Any]) -> Any:
    """The tiles one by one, with a bar on a terminal's stderr."""
    if not sys.stderr.isatty():
        return tiles
    from rich.console import Console
    from rich.progress import track

    return track(tiles, "tiles", console=Console(stderr=True), transient=True)


def _print_segmented(console: "Console", rows: list[dict[str, Any]]) -> None:
    for row in rows:
        written = " and ".join(path for path in (row["labels"], row["overlay"]) if path)
        console.print(f"{row['image']} ({row['size']}): {_largest(row['shares'])}\n  {written}", markup=False)


def _largest(shares: dict[str, float]) -> str:
    first = sorted(shares.items(), key=lambda item: -item[1])[:SHOWN_CLASSES]
    return ", ".join(f"{name} {share:.0%}" for name, share in first if share)


def _trained(model: "Model") -> "PretrainedNetwork":
    """The model with the weights of its tag, or its default ones."""
    from pretrained import load

    return load(f"{model.canonical}.{model.tag}" if model.tag else model.canonical)


def _configure_export(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_size(parser, default=None)
    parser.add_argument("--opset", type=int, default=13, metavar="N", help="ONNX opset (default 13, for old Jetsons)")
    parser.add_argument("--dynamic", action="store_true", help="leave batch, height and width free")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="file to write (default: MODEL-WxH.onnx)")


def _export(args: Arguments) -> int:
    from zoo.export import export_onnx

    model = model_of(args)
    if model.tag and args.settings:
        raise ZooError(f"--set makes {model.name} another network, which its weights do not fit; leave out one of them")
    module: Network = _trained(model) if model.tag else _untrained(model)
    own = getattr(getattr(module, "preprocessing", None), "size", None)
    height, width = args.size or own or (512, 1024)
    name = Path(model.name).name.replace("#", "-") + (f".{model.tag}" if model.tag else "")
    path = args.out or Path(f"{name}-{width}x{height}.onnx")
    written = export_onnx(module, path, size=(height, width), opset=args.opset, dynamic=args.dynamic)
    document = {
        "path": str(written.path),
        "opset": written.opset,
        "max_abs_diff": written.max_abs_diff,
        "size": f"{width}x{height}",
        "dynamic": args.dynamic,
        "weights": f"{model.canonical}.{model.tag}" if model.tag else None,
    }
    if "#" in model.name:
        document |= _papers(args, model, written.path)
    emit(args, document, lambda console: console.print(_written(document), markup=False))
    return 0


def _papers(args: Arguments, model: "Model", path: Path) -> dict[str, Any]:
    """Spec and card of a candidate of a search beside its file; none for one that --set has changed."""
    from search.papers import write_papers

    if args.settings:
        note(f"zoo: --set makes {model.name} another network, so no spec and no card of the candidate are written")
        return {}
    folder, _, rank = model.name.rpartition("#")
    papers = write_papers(Path(folder), int(rank), path, config_of(args))
    return {"spec": str(papers.spec), "card": str(papers.card), "command": papers.command}


def _untrained(model: "Model") -> "Network":
    import torch

    from pretrained import weights_of
    from zoo.network import build

    tags = [row["tag"] for row in weights_of(model.canonical)]
    hint = f"; name trained ones with {model.name}.{tags[0]}" if tags else ""
    note(f"zoo: {model.name} has no tag, so the weights are random{hint}")
    torch.manual_seed(0)
    return build(model.spec).eval()


def _written(document: dict[str, Any]) -> str:
    papers = f"; beside it {document['spec']} and {document['card']}" if "spec" in document else ""
    return (
        f"{document['path']}: opset {document['opset']}, {document['size']}"
        f"{' (dynamic)' if document['dynamic'] else ''}, weights {document['weights'] or 'random'}; "
        f"onnxruntime and torch differ by at most {document['max_abs_diff']:.2g}{papers}"
    )


COMMANDS = (
    Command(
        "segment",
        "label every pixel of images",
        "zoo segment street.png --model espnet.cityscapes --overlay -o out",
        _segment,
        _configure_segment,
    ),
    Command(
        "export",
        "write a network as ONNX, checked against torch",
        "zoo export espnet.cityscapes --size 1024x512 --opset 13 -o espnet.onnx",
        _export,
        _configure_export,
    ),
)
