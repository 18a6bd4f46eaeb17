"""`zoo export`: a network to take away."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.opening import candidate_of
from zoo.cli.command import Arguments, Command, add_model, add_size, config_of, emit, model_of, note
from zoo.errors import ZooError

if TYPE_CHECKING:
    from pretrained.weights import PretrainedNetwork
    from search.model_ref import Model
    from zoo.network import Network
    from zoo.specs import Spec


def _trained(model: "Model") -> "PretrainedNetwork":
    """The model with the weights of its tag, or its default ones."""
    from pretrained import load

    return load(f"{model.canonical}.{model.tag}" if model.tag else model.canonical)


def _configure_export(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_size(parser, default=None)
    parser.add_argument("--opset", type=int, default=13, metavar="N", help="ONNX opset (default 13, for old Jetsons)")
    parser.add_argument("--dynamic", action="store_true", help="leave batch, height and width free")
    parser.add_argument("--optimize", action="store_true", help="rewrite the network to run faster on CPUs first")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="file to write (default: MODEL-WxH.onnx)")


def _export(args: Arguments) -> int:
    from zoo.export import export_onnx

    model = model_of(args)
    if model.tag and args.settings:
        raise ZooError(f"--set makes {model.name} another network, which its weights do not fit; leave out one of them")
    candidate = candidate_of(model.name) if "#" in model.name and not args.settings else None
    module: Network = candidate[0] if candidate else _trained(model) if model.tag else _untrained(model)
    weights = candidate[1].name if candidate else f"{model.canonical}.{model.tag}" if model.tag else None
    own = getattr(getattr(module, "preprocessing", None), "size", None)
    height, width = args.size or own or (512, 1024)
    name = Path(model.name).name.replace("#", "-") + (f".{model.tag}" if model.tag else "")
    path = args.out or Path(f"{name}-{width}x{height}.onnx")
    said = {"weights": candidate[1].name, "weights_sha256": candidate[1].sha256} if candidate else None
    settings = {"opset": args.opset, "dynamic": args.dynamic, "optimize": args.optimize}
    written = export_onnx(module, path, size=(height, width), **settings, metadata=said)
    document = {
        "path": str(written.path),
        "opset": written.opset,
        "max_abs_diff": written.max_abs_diff,
        "size": f"{width}x{height}",
        "dynamic": args.dynamic,
        "passes": list(written.passes),
        "weights": weights,
    }
    if "#" in model.name:
        document |= _papers(args, model, written.path, weights, module.spec if candidate else None)
    emit(args, document, lambda console: console.print(_written(document), markup=False))
    return 0


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

    from pretrained import weights_of
    from zoo.network import build

    tags = [row["tag"] for row in weights_of(model.canonical)]
    hint = f"; name trained ones with {model.name}.{tags[0]}" if tags else ""
    note(f"zoo: {model.name} has no tag, so the weights are random{hint}")
    torch.manual_seed(0)
    return build(model.spec).eval()


def _written(document: dict[str, Any]) -> str:
    papers = f"; beside it {document['spec']} and {document['card']}" if "spec" in document else ""
    passes = f", rewritten by {', '.join(document['passes'])}" if document["passes"] else ""
    return (
        f"{document['path']}: opset {document['opset']}, {document['size']}"
        f"{' (dynamic)' if document['dynamic'] else ''}{passes}, weights {document['weights'] or 'random'}; "
        f"onnxruntime and torch differ by at most {document['max_abs_diff']:.2g}{papers}"
    )


COMMANDS = (
    Command(
        "export",
        "write a network as ONNX, checked against torch",
        "zoo export espnet.cityscapes --size 1024x512 --opset 13 -o espnet.onnx",
        _export,
        _configure_export,
    ),
)
