"""What goes with an exported network: how to prepare its input, what its channels are, and how to run it."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from zoo.errors import ZooError
from zoo.files import atomic
from zoo.inference.preprocess import Preprocessing
from zoo.ownership import NAME

ONNX = ".onnx"
SCRIPT, NOTES = ".infer.py", ".deploy.md"
"""Endings of the files beside an ONNX file."""

ENGINES = (".engine", ".plan", ".trt")

NVPMODEL: Mapping[str, Mapping[float, int]] = {"tx2": {1300.0: 0, 850.0: 1, 1120.0: 2}}
"""Numbers of `nvpmodel -m` by GPU clock in MHz (jetsonhacks.com 2017/03/25 nvpmodel: Max-N, Max-Q, Max-P)."""


@dataclass(frozen=True, slots=True)
class Board:
    """Where the network is to run: a device's name and title, the GPU clock in MHz, and its clocks by mode."""

    name: str
    title: str
    clock_mhz: float | None = None
    modes: Mapping[str, float] | None = None

    @property
    def jetson(self) -> bool:
        """Whether nvpmodel and jetson_clocks set its clocks."""
        return "jetson" in self.title.casefold()


@dataclass(frozen=True, slots=True)
class Kit:
    """The files beside a network, None for a script where it would mean nothing, and the command for TensorRT."""

    notes: Path
    script: Path | None
    trtexec: str


def check_ending(path: Path) -> None:
    """Raise ZooError for a file that does not end as what is written into it."""
    if path.suffix.lower() == ONNX:
        return
    onnx = shlex.quote(str(path.with_suffix(ONNX)))
    way = f"zoo export -o {onnx}" if path.suffix else f"name it {onnx}"
    if path.suffix.lower() in ENGINES:
        way += f" and, on the board, trtexec --onnx={onnx} --saveEngine={shlex.quote(str(path))}"
    raise ZooError(f"{path}: an ONNX file ends with {ONNX}; {way}")


def write_kit(path: Path, about: Mapping[str, str], *, dynamic: bool = False, board: Board | None = None) -> Kit:
    """Write notes and a script beside an ONNX file whose metadata are `about`: net.deploy.md, net.infer.py.

    Both follow the form of the file: 8-bit pixels or prepared floats in, logits or labels out.

    The script runs on the file alone, with numpy, onnxruntime and Pillow. Networks with random weights have none.
    """
    command = trtexec(path, about, dynamic=dynamic)
    trained = "preprocessing" in about
    script = path.with_suffix(SCRIPT) if trained else None
    if script:
        _write(script, files("zoo").joinpath("minimal_inference.py").read_text(encoding="utf-8"))
    notes = path.with_suffix(NOTES)
    _write(notes, notes_of(path, about, command, script, board))
    return Kit(notes, script, command)


def _write(path: Path, text: str) -> None:
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def trtexec(path: Path, about: Mapping[str, str], *, dynamic: bool = False) -> str:
    """The command that makes a TensorRT engine of FP16 of an ONNX file with these metadata, for one image."""
    width, _, height = about["size"].partition("x")
    engine = path.with_suffix(".engine").name
    words = ["trtexec", f"--onnx={path.name}", f"--saveEngine={engine}", "--fp16"]
    if dynamic:
        words += [f"--{bound}Shapes=image:1x3x{height}x{width}" for bound in ("min", "opt", "max")]
    if about.get("precision") == "int8":
        words.append("--int8")
    return shlex.join(words)


def notes_of(path: Path, about: Mapping[str, str], command: str, script: Path | None, board: Board | None) -> str:
    """The notes, in Markdown."""
    parts = [f"# {path.name}", _weights(about)]
    if "preprocessing" in about:
        preprocessing = Preprocessing.from_dict(json.loads(about["preprocessing"]))
        parts += [
            "## Input",
            in_words(preprocessing, about),
            _block(in_code(preprocessing, about, path.name), "python"),
        ]
    parts += ["## Output", _channels(about)]
    if "precision" in about:
        parts[1] += f"\n* precision: {about['precision']}"
    if script:
        parts += ["## Try it", _block(f"python {shlex.quote(script.name)} image.png", "sh")]
    parts += [
        "## TensorRT",
        "On the board, for engines fit only the GPU that they were built on:",
        _block(command, "sh"),
    ]
    if about.get("precision", "float32") == "float32":
        parts.append("Leave out `--fp16` for 32-bit floats.")
    parts += _clock(board)
    return "\n\n".join([*parts, f"Written by {NAME}."]) + "\n"


def _weights(about: Mapping[str, str]) -> str:
    rows = [("weights", about["weights"]), *((key, about[key]) for key in NOTED if key in about)]
    return "\n".join(f"* {key.replace('_', ' ')}: {value}" for key, value in rows)


NOTED = ("warning", "weights_sha256", "weights_miou", "labels", "source", "license", "copyright", "zoo_version")
"""Metadata that the notes repeat."""


def _takes_pixels(about: Mapping[str, str]) -> bool:
    return about.get("input", "").startswith("uint8")


def _gives_labels(about: Mapping[str, str]) -> bool:
    return "labels" in about.get("output", "")


def in_words(preprocessing: Preprocessing, about: Mapping[str, str]) -> str:
    """What the input must be, in words.

    >>> print(in_words(Preprocessing(channels="BGR", maximum=255.0, divisor=255.0), {"size": "1024x512"}))
    `image`, float32, (1, 3, 512, 1024): channels in the order BGR; values from 0 to 255; resized to 1024x512 \
(bilinear, half-pixel centres); divided by 255.
    """
    size = about["size"]
    width, _, height = size.partition("x")
    if _takes_pixels(about):
        layout = about["input_layout"]
        shape = f"(1, {height}, {width}, 3)" if layout == "NHWC" else f"(1, 3, {height}, {width})"
        return (
            f"`image`, uint8, {shape}, {layout}: pixels in the order RGB, from 0 to 255, resized to {size}. What else "
            "the training expects (order, mean, scale) is inside the file."
        )
    steps = [f"channels in the order {preprocessing.channels}", f"values from 0 to {preprocessing.maximum:g}"]
    if any(preprocessing.mean):
        steps.append(f"minus the mean {_triple(preprocessing.mean)}")
    if preprocessing.std != (1.0, 1.0, 1.0):
        steps.append(f"divided by {_triple(preprocessing.std)}")
    kind = "8-bit pixels first, bilinear, antialiased" if preprocessing.antialias else "bilinear, half-pixel centres"
    steps.append(f"resized to {size} ({kind})")
    if preprocessing.divisor != 1:
        steps.append(f"divided by {preprocessing.divisor:g}")
    return f"`image`, float32, (1, 3, {height}, {width}): {'; '.join(steps)}."


def in_code(preprocessing: Preprocessing, about: Mapping[str, str], name: str) -> str:
    """The same as ten lines of Python; Pillow antialiases, which only matters for images of another size."""
    size, planes = about["size"].replace("x", ", "), "x.transpose(2, 0, 1)[None]"
    if _takes_pixels(about):
        x = "x[None]" if about["input_layout"] == "NHWC" else planes
        steps = "x = np.asarray(image)"
    else:
        x = f"np.ascontiguousarray({planes}, np.float32)"
        steps = f"""x = np.asarray(image, np.float32){"" if preprocessing.channels == "RGB" else "[:, :, ::-1]"}
x = x * {preprocessing.maximum / 255!r} - np.float32({list(preprocessing.mean)})
x = x / np.float32({list(preprocessing.std)}) / {preprocessing.divisor!r}"""
    run = f'session.run(None, {{"image": {x}}})[0]'
    answer = f"labels = {run}[0]" if _gives_labels(about) else f"logits = {run}\nlabels = logits[0].argmax(0)"
    return f"""import numpy as np
import onnxruntime
from PIL import Image

image = Image.open("image.png").convert("RGB").resize(({size}), Image.Resampling.BILINEAR)
{steps}
session = onnxruntime.InferenceSession("{name}")
{answer}"""


def _triple(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _channels(about: Mapping[str, str]) -> str:
    if "classes" not in about:
        return "The network's channels have no names: it holds no weights of a data set."
    names = json.loads(about["classes"])
    rows = "\n".join(f"| {i} | {name} |" for i, name in enumerate(names))
    if _gives_labels(about):
        heading = f"Labels, {about['output'].replace(' labels', ',')}: the class index of each pixel"
        return f"{heading}.\n\n| index | class |\n| --- | --- |\n{rows}"
    return (
        f"Logits (1, {len(names)}, h, w); the index of a pixel's largest is its class. Resize them to the image "
        f"before the arg-max.\n\n| channel | class |\n| --- | --- |\n{rows}"
    )


def _block(text: str, kind: str) -> str:
    return f"```{kind}\n{text}\n```"


def _clock(board: Board | None) -> list[str]:
    if board is None or not board.jetson:
        return []
    lines = clock_commands(board)
    clock_text = f", {board.clock_mhz:g} MHz" if board.clock_mhz else ""
    return [
        "## Clock",
        f"{board.title}{clock_text}; a prediction holds at this clock only.",
        _block("\n".join(lines), "sh"),
    ]


def clock_commands(board: Board) -> list[str]:
    """Commands that set a Jetson's GPU clock: a known power mode of that clock, or how to find one."""
    mode = NVPMODEL.get(board.name, {}).get(board.clock_mhz or max((board.modes or {"": 0.0}).values()))
    if mode is None:
        return [
            "sudo nvpmodel -q --verbose   # lists the power modes; choose one whose GPU MAX_FREQ is the clock",
            "sudo nvpmodel -m MODE",
            "sudo jetson_clocks --show    # the GPU's clock as it is",
        ]
    return [
        f"sudo nvpmodel -m {mode}",
        "sudo nvpmodel -q   # the mode as it is; releases differ in modes",
        "sudo jetson_clocks",
        "sudo jetson_clocks --show   # the GPU's clock as it is",
    ]
