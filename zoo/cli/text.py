"""`zoo text`: the ESPNetv2 paper's recurrent unit on any text, beside an LSTM of equal size."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import (
    Arguments,
    Command,
    count_argument,
    emit,
    note,
    positive_argument,
    probability_argument,
    table,
)
from zoo.cli.outputs import add_force, check_outputs
from zoo.errors import ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.language.corpus import Corpus
    from zoo.language.model import LanguageSpec
    from zoo.language.trainer import TextRecipe, TextScore, Trained

MAX_TEXT = 2**28
"""Bytes of a text."""

UNITS = ("char", "word")


def _configure(parser: argparse.ArgumentParser) -> None:
    below = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    train = below.add_parser(
        "train", help="train both on a text, and score them", description="train both on a text, and score them"
    )
    _configure_train(train)
    score = below.add_parser(
        "eval", help="score a trained model on a text", description="score a trained model on a text"
    )
    score.add_argument("model", type=Path, metavar="MODEL", help="a file NAME.safetensors of zoo text train")
    score.add_argument("file", type=Path, metavar="FILE", help="a text in UTF-8")
    for sub in (train, score):
        # Both places are allowed, as of `zoo device`.
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")
        sub.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="your own zoo.yaml")


def _configure_train(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", type=Path, metavar="FILE", help="a text in UTF-8: 90 %% train, 5 %% val, 5 %% test")
    sub.add_argument("-o", "--out", type=Path, default=Path("text"), metavar="DIR", help="where to write (text)")
    add_force(sub)
    sub.add_argument("--unit", choices=UNITS, default="char", help="what is foretold (default char)")
    counts = {"hidden": (128, "values of a layer"), "layers": (2, "layers"), "levels": (3, "levels of a pyramid")}
    counts |= {"groups": (4, "groups of the context"), "epochs": (5, "passes over the text")}
    counts |= {"batch": (16, "pieces at once"), "length": (64, "tokens that gradients go back")}
    for name, (default, help_text) in counts.items():
        sub.add_argument(
            f"--{name}", type=count_argument, default=default, metavar="N", help=f"{help_text} ({default})"
        )
    sub.add_argument("--lr", type=positive_argument, default=3e-3, metavar="X", help="Adam's learning rate (0.003)")
    sub.add_argument("--dropout", type=probability_argument, default=0.2, metavar="P", help="between layers (0.2)")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and dropout (default 0)")


def _text(args: Arguments) -> int:
    return {"train": _train, "eval": _eval}[args.action](args)


def _train(args: Arguments) -> int:
    from zoo.language.corpus import corpus_of
    from zoo.language.files import ABOUT, WEIGHTS
    from zoo.language.model import KINDS, LanguageSpec, lstm_like
    from zoo.language.trainer import TextRecipe

    check_outputs(args, *(args.out / f"{kind}{ending}" for kind in KINDS for ending in (WEIGHTS, ABOUT)))
    recipe = TextRecipe(epochs=args.epochs, batch=args.batch, length=args.length, lr=args.lr, seed=args.seed)
    corpus = corpus_of(_read(args.file), args.unit)
    first = LanguageSpec(
        vocabulary=len(corpus.vocabulary),
        embedding=args.hidden,
        hidden=args.hidden,
        layers=args.layers,
        levels=args.levels,
        groups=args.groups,
        dropout=args.dropout,
    )
    rows = [_one(args, spec, corpus, recipe) for spec in (first, lstm_like(first))]
    document = {
        "file": str(args.file),
        "unit": corpus.unit,
        "vocabulary": len(corpus.vocabulary),
        "tokens": {"train": len(corpus.train), "val": len(corpus.val), "test": len(corpus.test)},
        "seed": args.seed,
        "models": rows,
    }
    emit(args, document, lambda console: _print(console, document))
    return 0


def _one(args: Arguments, spec: "LanguageSpec", corpus: "Corpus", recipe: "TextRecipe") -> dict[str, Any]:
    """Train one model, write it, and say what it is and scores."""
    from dataclasses import asdict

    from zoo._version import version
    from zoo.language.files import WEIGHTS, save_model
    from zoo.language.trainer import train

    def show(epoch: int, val_score: "TextScore") -> None:
        note(f"{spec.kind}: epoch {epoch} of {recipe.epochs}, val perplexity {val_score.perplexity:.4g}")

    trained = train(spec, corpus, recipe, show)
    path = args.out / f"{spec.kind}{WEIGHTS}"
    row = _row(spec, trained) | {"path": str(path)}
    about = {"recipe": asdict(recipe), "scores": {"val": row["val"], "test": row["test"]}, "zoo_version": version()}
    save_model(path, trained.model, corpus.unit, corpus.vocabulary, about)
    return row


def _row(spec: "LanguageSpec", trained: "Trained") -> dict[str, Any]:
    return {
        "model": spec.kind,
        "params": spec.params,
        "hidden": spec.hidden,
        "embedding": spec.embedding,
        "epoch": trained.epoch,
        "val": _scores(trained.val),
        "test": _scores(trained.test),
        "seconds": trained.seconds,
    }


def _scores(text_score: "TextScore") -> dict[str, float | None]:
    """Perplexity and bits a token; perplexity is None where it is too large for a number."""
    perplexity = text_score.perplexity
    return {"perplexity": perplexity if perplexity < float("inf") else None, "bits": text_score.bits}


def _eval(args: Arguments) -> int:
    from zoo.language.corpus import indices, split_text
    from zoo.language.files import load_model
    from zoo.language.trainer import score

    saved = load_model(args.model)
    tokens = indices(split_text(_read(args.file), saved.unit), saved.vocabulary)
    text_score = score(saved.model, tokens)
    document = {
        "model": str(args.model),
        "file": str(args.file),
        "unit": saved.unit,
        "params": saved.model.spec.params,
        "tokens": text_score.tokens,
        "unknown": float((tokens == 0).mean()),
        **_scores(text_score),
    }
    emit(args, document, lambda console: _print_eval(console, document))
    return 0


def _read(path: Path) -> str:
    from zoo.reading import read_text

    return read_text(path, ZooError, MAX_TEXT).replace("\r\n", "\n")


def _print(console: "Console", document: dict[str, Any]) -> None:
    cells = [
        (
            row["model"],
            f"{row['params']:,}",
            *(f"{row[part][key]:.4g}" if row[part][key] else "" for part in ("val", "test") for key in row[part]),
            f"{row['seconds']:.1f} s",
        )
        for row in document["models"]
    ]
    unit = document["unit"]
    columns = ("model", "parameters", "val perplexity", f"bits a {unit}", "test perplexity", f"bits a {unit}", "took")
    console.print(table(None, columns, cells))
    for row in document["models"]:
        console.print(row["path"], markup=False)


def _print_eval(console: "Console", document: dict[str, Any]) -> None:
    perplexity = "beyond all numbers" if document["perplexity"] is None else f"{document['perplexity']:.4g}"
    console.print(
        f"perplexity {perplexity}, {document['bits']:.4g} bits a {document['unit']}, {document['tokens']} tokens, "
        f"{document['unknown']:.2%} unknown"
    )


COMMANDS = (
    Command(
        "text",
        "the recurrent unit of the ESPNetv2 paper as a language model, beside an LSTM of equal size",
        "zoo text train book.txt --unit char -o book",
        _text,
        _configure,
        ("zoo text eval book/espnetv2-text.safetensors other.txt",),
    ),
)
