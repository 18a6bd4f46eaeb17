"""`zoo export`: a network to take away."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from search.opening import check_unchanged, has_weights, open_model
from zoo.cli.command import (
    DEFAULT_SIZE,
    Arguments,
    Command,
    add_model,
    add_model_size,
    config_of,
    emit,
    model_of,
    note,
    size_argument,
    usage,
)
from zoo.cli.outputs import add_force, check_outputs
from zoo.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.model_ref import Model
    from search.opening import Opened
    from zoo.compress.variants import Variant
    from zoo.kit import Board, Kit
    from zoo.network import Network
    from zoo.specs import Spec


def _configure_export(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_model_size(parser)
    parser.add_argument("--opset", type=int, default=13, metavar="N", help="ONNX opset (default 13, for old Jetsons)")
    parser.add_argument("--dynamic", action="store_true", help="leave batch, height and width free")
    parser.add_argument("--optimize", action="store_true", help="rewrite the network to run faster on CPUs first")
    parser.add_argument("--half", action="store_true", help="compute in float16; input and output stay float32")
    parser.add_argument("--int8", action="store_true", help="also 8-bit integers: QDQ ONNX, and OpenVINO's .xml")
    parser.add_argument("--calibrate", type=Path, metavar="DIR", help="images that --int8 takes ranges from")
    parser.add_argument(
        "--with-preprocessing",
        choices=("NHWC", "NCHW"),
        nargs="?",
        const="NHWC",
        metavar="LAYOUT",
        help="take 8-bit RGB pixels, NHWC (default) or NCHW, at the network's size",
    )
    parser.add_argument(
        "--with-argmax",
        type=_labels_size,
        nargs="?",
        const="network",
        metavar="WxH",
        help="give labels, at the network's input size or at the image's size WxH",
    )
    parser.add_argument("--device", metavar="D", help="whose clock setting the notes give, as tx2@850")
    parser.add_argument("--strict", action="store_true", help="refuse a network without trained weights")
    parser.add_argument("--no-kit", action="store_true", help="write the ONNX file alone, without notes and script")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="file to write (default: MODEL-WxH.onnx)")
    add_force(parser)


INT8_OPSET = 13
"""First opset with a scale for each channel."""


def _labels_size(text: str) -> tuple[int, int] | str:
    return text if text == "network" else size_argument(text)


def _suffix(args: Arguments) -> str:
    return "-fp16" if args.half else "-int8" if args.int8 else ""


def _variant(args: Arguments, size: tuple[int, int]) -> "Variant":
    """The form that the options ask for. Raises ZooError where they exclude each other."""
    from zoo.compress.variants import Variant

    labels = size if args.with_argmax == "network" else args.with_argmax
    variant = Variant(half=args.half, preprocessing=args.with_preprocessing, argmax=labels)
    if args.dynamic and (args.int8 or not variant.plain):
        raise ZooError("this form of the network has one input size; leave out --dynamic")
    if args.int8 != bool(args.calibrate):
        raise usage("--int8 and --calibrate DIR go together; give both or neither")
    if args.int8 and (args.half or args.opset < INT8_OPSET):
        raise usage(f"--int8 goes without --half and needs --opset {INT8_OPSET} or higher")
    return variant


def _export(args: Arguments) -> int:
    from zoo.compress.variants import describe, write_variant
    from zoo.export import export_onnx
    from zoo.kit import NOTES, SCRIPT, check_ending

    model = model_of(args)
    if args.out:
        check_ending(args.out)
    board = _board(args, model)
    opened = _opened(args, model)
    module: Network = opened.module if opened else _untrained(model)
    height, width = _size(args, model, module)
    variant = _variant(args, (height, width))
    path = args.out or Path(f"{_stem(model)}-{width}x{height}{_suffix(args)}.onnx")
    check_outputs(args, path, *(() if args.no_kit else (path.with_suffix(end) for end in (SCRIPT, NOTES))))
    about = {"weights": opened.taken.name, "weights_sha256": opened.taken.sha256} if opened else {}
    settings = {"opset": args.opset, "dynamic": args.dynamic, "optimize": args.optimize}
    with TemporaryDirectory() as folder:
        first = path if variant.plain and not args.int8 else Path(folder) / "float.onnx"
        exported = export_onnx(module, first, size=(height, width), **settings, metadata=about)
        int8 = _int8(args, first, path, variant) if args.int8 else {}
        form = write_variant(first, variant, path) if first != path and not int8 else None
    facts = form.about if form else describe(variant, (height, width))
    document = {
        "path": str(path),
        "opset": exported.opset,
        "max_abs_diff": exported.max_abs_diff if form is None else form.max_abs_diff,
        "differing_labels": form.differing_labels if form else None,
        **{key: facts[key] for key in ("precision", "input", "output")},
        **({"precision": "int8", "max_abs_diff": None, "int8": int8} if int8 else {}),
        "size": f"{width}x{height}",
        "dynamic": args.dynamic,
        "passes": list(exported.passes),
        **(opened.taken.document() if opened else {"weights": None}),
        **_kit(args, path, {**exported.about, **facts, **({"precision": "int8"} if int8 else {})}, board),
    }
    if model.kind == "candidate":
        document |= _papers(args, model, path, document["weights"], module.spec if opened else None)
    emit(args, document, lambda console: console.print(_written(document, opened), markup=False))
    return 0


def _opened(args: Arguments, model: "Model") -> "Opened | None":
    """The network with the weights that were named with it; None for random ones, which --strict refuses."""
    if model.kind == "onnx":
        raise ZooError(f"{model.name}: is an ONNX file already; export the weights that it is made of")
    if model.tag or model.kind in ("weights", "run"):
        check_unchanged(model)
    if not model.settings and has_weights(model):
        return open_model(model)
    if args.strict:
        raise ZooError(f"--strict refuses random weights: {_random(model)}")
    note(f"zoo: {_random(model)}")
    return None


def _random(model: "Model") -> str:
    """That the weights are random, and which there are."""
    from pretrained import weights_of
    from search.lacking import lacks_weights

    if model.settings:
        return f"--set makes {model.name} a network without weights, so they are random"
    if model.kind != "name":
        return f"{lacks_weights(model)}; until then the weights are random"
    tags = [f"{model.name}.{row['tag']}" for row in weights_of(model.canonical)]
    hint = f"; trained ones: {', '.join(tags)}" if tags else f"; {lacks_weights(model)}"
    return f"{model.name} has no tag, so the weights are random{hint}"


def _size(args: Arguments, model: "Model", module: "Network") -> tuple[int, int]:
    own = getattr(getattr(module, "preprocessing", None), "size", None)
    size: tuple[int, int] = args.size or own or model.conditions.size or DEFAULT_SIZE
    return size


def _stem(model: "Model") -> str:
    name = Path(model.canonical if model.kind in ("run", "weights") else model.name).name.replace("#", "-")
    return name + (f".{model.tag}" if model.tag else "")


def _board(args: Arguments, model: "Model") -> "Board | None":
    """The device that the notes are for: the one asked for, or the run's; None where there is none."""
    from hw_models.device import load_device
    from search.device_ref import device_at
    from zoo.kit import Board

    at = device_at(args.device) if args.device else next(iter(model.conditions.devices), None)
    if at is None:
        return None
    device = load_device(at.name)
    return Board(device.name, device.title, device.clock(at.clock_mhz), device.clocks.modes)


def _kit(args: Arguments, path: Path, about: "Mapping[str, str]", board: "Board | None") -> dict[str, Any]:
    """Commands for the board, and notes and a script for the form of the file."""
    from zoo.kit import clock_commands, trtexec, write_kit

    commands: dict[str, Any] = {"trtexec": trtexec(path, about, dynamic=args.dynamic)}
    if board and board.jetson:
        commands["clock"] = clock_commands(board)
    if args.no_kit:
        return {"commands": commands}
    kit: Kit = write_kit(path, about, dynamic=args.dynamic, board=board)
    return {"commands": commands, "notes": str(kit.notes), "script": str(kit.script) if kit.script else None}


def _papers(args: Arguments, model: "Model", path: Path, weights: str | None, trained: "Spec | None") -> dict[str, Any]:
    """Spec and card of a candidate of a search beside its file; none for one that --set has changed."""
    from search.runs.model_card import write_papers

    if args.settings:
        note(f"zoo: --set makes {model.name} another network, so no spec and no card of the candidate are written")
        return {}
    folder, _, rank = model.name.rpartition("#")
    papers = write_papers(Path(folder), int(rank), path, config_of(args), weights, trained)
    return {"spec": str(papers.spec), "card": str(papers.card), "command": papers.command}


def _untrained(model: "Model") -> "Network":
    import torch

    from zoo.network import build

    torch.manual_seed(0)
    return build(model.spec, model.conditions.size or DEFAULT_SIZE).eval()


def _written(document: dict[str, Any], opened: "Opened | None") -> str:
    names = ("spec", "card", "notes", "script")
    beside = "".join(f"\n  {name}: {document[name]}" for name in names if document.get(name))
    passes = f", rewritten by {', '.join(document['passes'])}" if document["passes"] else ""
    return (
        f"{document['path']}: opset {document['opset']}, {document['size']}"
        f"{' (dynamic)' if document['dynamic'] else ''}{passes}, weights {opened.taken if opened else 'random'}; "
        f"{_difference(document)}{beside}\n"
        f"  {document['precision']}; in: {document['input']}; out: {document['output']}\n"
        f"  on the board: {document['commands']['trtexec']}"
    )


def _int8(args: Arguments, source: Path, path: Path, variant: "Variant") -> dict[str, Any]:
    """Write the network in 8 bits: QDQ ONNX at `path`, OpenVINO's format beside it."""
    from zoo.compress.quantise import VALIDATION, calibration, quantise_onnx, quantise_openvino
    from zoo.compress.variants import write_variant

    data = calibration(source, args.calibrate)
    first = source.with_name("int8.onnx") if not variant.plain else path
    files = {"onnx": quantise_onnx(source, data, first).document()}
    if not variant.plain:
        write_variant(first, variant, path)
        files["onnx"] |= {"path": str(path), "bytes": path.stat().st_size}
    files["openvino"] = quantise_openvino(source, data, path.with_suffix(".xml")).document()
    for name, file in files.items():
        if file["loses"]:
            note(
                f"zoo: int8 loses here: in {name} {1 - file['agreement']:.2%} of the pixels get another label than in "
                "float, although layers went back to float; prefer --half"
            )
    return files | {
        "float_bytes": source.stat().st_size,
        "calibration": {"folder": str(args.calibrate), "images": [image.name for image in data.images]},
        "validation_images": min(VALIDATION, len(data.validation)),
    }


def _difference(document: dict[str, Any]) -> str:
    if document["precision"] == "int8":
        return "; ".join(
            f"{name}: {file['bytes']} bytes for {document['int8']['float_bytes']}, "
            f"{file['agreement']:.2%} of the labels as in float, {len(file['float_layers'])} convolutions in float"
            for name, file in ((name, document["int8"][name]) for name in ("onnx", "openvino"))
        )
    if document["differing_labels"] is not None:
        return f"{document['differing_labels']:.2%} of the labels of random pixels differ from the float32 file's"
    return f"onnxruntime and torch differ by at most {document['max_abs_diff']:.2g}"


COMMANDS = (
    Command(
        "export",
        "write a network as ONNX, checked against torch",
        "zoo export espnet.cityscapes --size 1024x512 --opset 13 -o espnet.onnx",
        _export,
        _configure_export,
    ),
)
