"""`zoo scene`: generated street scenes, for a look at a network where there are no images."""

import argparse
from pathlib import Path

from zoo.cli.command import Arguments, Command, UsageError, add_size, emit
from zoo.cli.outputs import add_force, check_outputs

SEED = 2_000_000
"""The first scene of the generated test split, which no network of ours was trained on."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, default=Path(), metavar="DIR", help="where to write (default: here)")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="how many (default 1)")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"of the first one (default {SEED})")
    add_size(parser, (360, 480))
    add_force(parser)


def _scene(args: Arguments) -> int:
    from PIL import Image

    from zoo.data.classes import CAMVID
    from zoo.data.synthetic import scene
    from zoo.files import make_folder
    from zoo.inference.overlay import legend, save_labels, save_png

    if args.count < 1 or args.seed < 0:
        raise UsageError(f"--count must be at least 1 and --seed at least 0, but they are {args.count} and {args.seed}")
    make_folder(args.out)
    seeds = range(args.seed, args.seed + args.count)
    files = [tuple(args.out / f"scene-{seed}{end}.png" for end in ("", ".truth")) for seed in seeds]
    check_outputs(args, *(path for pair in files for path in pair))
    rows = []
    for seed, (image, labels) in zip(seeds, files, strict=True):
        pixels, classes = scene(seed, args.size)
        save_png(image, Image.fromarray(pixels))
        save_labels(labels, classes, legend(CAMVID, len(CAMVID.classes)))
        rows.append({"seed": seed, "image": str(image), "labels": str(labels)})
    emit(args, rows, lambda console: console.print("\n".join(f"{row['image']}  {row['labels']}" for row in rows)))
    return 0


COMMANDS = (
    Command(
        "scene", "write generated street scenes, with their labels", "zoo scene --count 3 -o scenes", _scene, _configure
    ),
)
