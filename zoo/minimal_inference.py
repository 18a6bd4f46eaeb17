"""Label images with an ONNX file that `zoo export` wrote: numpy, onnxruntime and Pillow suffice.

    python NAME.infer.py image.png [more.png ...]      # beside NAME.onnx
    python NAME.infer.py --model other.onnx image.png

Writes image.labels.png into the working directory, a class index a pixel, and prints the share of each class.
What the network expects and what its outputs mean is read from the file. Written by edgeseg-zoo.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def resized(x: Any, size: tuple[int, int]) -> Any:
    """Rows and columns (H, W, ...) interpolated bilinearly to `size`, with half-pixel centres, not antialiased."""
    for axis, length in enumerate(size):
        if x.shape[axis] != length:
            place = (np.arange(length) + 0.5) * (x.shape[axis] / length) - 0.5
            place = place.clip(0, x.shape[axis] - 1)
            before = place.astype(int)
            after = np.minimum(before + 1, x.shape[axis] - 1)
            share = (place - before).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
            x = x.take(before, axis) * (1 - share) + x.take(after, axis) * share
    return x


def network_input(pixels: Any, preprocessing: dict[str, Any], size: tuple[int, int]) -> Any:
    """Pixels (H, W, 3) in RGB, 8 bits, as the network's input (1, 3, h, w), float32."""
    if preprocessing.get("antialias") and pixels.shape[:2] != size:
        pixels = np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    x = pixels if preprocessing["channels"] == "RGB" else pixels[:, :, ::-1]
    x = (x * np.float32(preprocessing["maximum"] / 255) - np.float32(preprocessing["mean"])) / np.float32(
        preprocessing["std"]
    )
    x = resized(x, size) / np.float32(preprocessing["divisor"])
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)


def label(session: Any, path: Path) -> Any:
    """Class indices (H, W) of an image file, at its own size."""
    about = session.get_modelmeta().custom_metadata_map
    preprocessing = json.loads(about["preprocessing"])
    width, height = map(int, about["size"].split("x"))
    pixels = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    entry = session.get_inputs()[0]
    if entry.type == "tensor(uint8)":  # the file prepares its pixels itself
        x = np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))[None]
        x = x if about["input_layout"] == "NHWC" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    else:
        x = network_input(pixels, preprocessing, (height, width))
    logits = session.run(None, {entry.name: x})[0][0]
    if logits.ndim == 2:  # labels
        side = (pixels.shape[1], pixels.shape[0])
        return np.array(Image.fromarray(logits.astype(np.uint8)).resize(side, Image.Resampling.NEAREST))
    return resized(logits.transpose(1, 2, 0), pixels.shape[:2]).argmax(2).astype(np.uint8)


def main() -> int:
    """Label the images that the command line names."""
    parser = argparse.ArgumentParser(description="Label every pixel of images.")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--model", type=Path, default=Path(__file__).with_suffix("").with_suffix(".onnx"))
    args = parser.parse_args()
    session = onnxruntime.InferenceSession(str(args.model), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    if "preprocessing" not in about:
        print(f"{args.model}: does not say what its input must be: it holds random weights", file=sys.stderr)
        return 1
    names = json.loads(about.get("classes", "[]"))
    colours = [value for colour in json.loads(about.get("colours", "[]")) for value in colour]
    for path in args.images:
        labels = label(session, path)
        picture = Image.fromarray(labels)
        picture.putpalette(colours + [0] * (768 - len(colours)))
        picture.save(f"{path.stem}.labels.png")
        counts = np.bincount(labels.ravel(), minlength=len(names))
        shares = ", ".join(f"{names[i]} {counts[i] / labels.size:.1%}" for i in counts.argsort()[::-1] if counts[i])
        print(f"{path}: {shares}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
