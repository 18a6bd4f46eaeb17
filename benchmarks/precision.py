"""`python -m benchmarks.precision --data DIR`: a shipped network in float32, float16 and 8-bit integers.

DIR is CamVid. Each file is what `zoo export` writes and is scored by `zoo eval FILE`. What was found is kept in
precision.json; docs/precision.md is written from it. `--page` writes the page alone, `--time` times the files of
`--keep`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import fresh, machine, now, vectors
from benchmarks.page import DOCS
from benchmarks.side_by_side import duration, markdown, side_by_side

ROWS = Path(__file__).resolve().with_name("precision.json")
PAGE = DOCS / "precision.md"

MODEL = "espnet-8.camvid"
SIZE = (360, 480)
"""Height and width, as it was trained."""

PACKAGES = ("torch", "onnxruntime", "openvino", "nncf")

FILES = {
    "float32, ONNX": "float.onnx",
    "float16, ONNX": "half.onnx",
    "int8, ONNX (QDQ)": "int8.onnx",
    "int8, OpenVINO": "int8.xml",
}

TIMED = (
    ("float32, ONNX", "onnxruntime"),
    ("float32, ONNX", "openvino"),
    ("float16, ONNX", "onnxruntime"),
    ("float16, ONNX", "openvino"),
    ("int8, ONNX (QDQ)", "onnxruntime"),
    ("int8, ONNX (QDQ)", "openvino"),
    ("int8, OpenVINO", "openvino"),
)
"""File and runtime; ratios are against the first of each runtime."""

ROUNDS = 15


Made = tuple[int, float] | None
"""Of a file in 8 bits: convolutions that stayed in float, and share of pixels that keep float32's label."""


def make(name: str, folder: Path, images: Path) -> Made:
    """Write one of FILES as `zoo export` does; images: what ranges are taken from."""
    from pretrained import load
    from zoo.compress.quantise import calibration, quantise_onnx, quantise_openvino
    from zoo.compress.variants import Variant, write_variant
    from zoo.export import export_onnx

    plain, out = folder / FILES["float32, ONNX"], folder / FILES[name]
    if not plain.exists() or out == plain:
        export_onnx(load(MODEL), plain, size=SIZE)
    if name.startswith("float16"):
        write_variant(plain, Variant(half=True), out)
    if not name.startswith("int8"):
        return None
    write = quantise_onnx if out.suffix == ".onnx" else quantise_openvino
    quantised = write(plain, calibration(plain, images), out)
    return len(quantised.float_layers), quantised.agreement


def ranges_from(folder: Path, images: Path) -> dict[str, Any]:
    """The list of images that ranges are taken from, by name."""
    from zoo.compress.quantise import calibration

    chosen = calibration(folder / FILES["float32, ONNX"], images)
    return {"from": "camvid train", "images": [image.name for image in chosen.images]}


def scores(file: Path, data: Path) -> dict[str, Any]:
    """What `zoo eval` says of a file on CamVid's val."""
    words = ["eval", str(file), "--dataset", "camvid", "--data", str(data), "--json"]
    document = json.loads(fresh("zoo", *words, threads=1))
    return {name: document[name] for name in ("miou", "class_average", "pixel_accuracy", "images")}


def bytes_of(file: Path) -> int:
    """Bytes of a file, with the weights beside it."""
    beside = file.with_suffix(".bin")
    return file.stat().st_size + (beside.stat().st_size if file.suffix == ".xml" else 0)


def measure(results: dict[str, Any], folder: Path, data: Path, names: Sequence[str]) -> None:
    """Make and score files, each kept as soon as it is scored."""
    for name in names:
        quantised = make(name, folder, data / "train")
        row = {
            "name": name,
            "bytes": bytes_of(folder / FILES[name]),
            **scores(folder / FILES[name], data),
            "when": now(),
            "versions": machine(PACKAGES).versions,
        }
        if quantised:
            row |= {"float_layers": quantised[0], "agreement": quantised[1]}
            results["calibration"] = ranges_from(folder, data / "train")
        rows = {row_before["name"]: row_before for row_before in results["files"]} | {name: row}
        results["files"] = [rows[file] for file in FILES if file in rows]
        keep(results)


def timed(folder: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """CPU time of one image by file and runtime, one thread, in turn; ratios against float32 of the same runtime."""
    comparison = side_by_side(
        {f"{name}: {runtime}": _run(folder / FILES[name], runtime) for name, runtime in TIMED},
        rounds=rounds,
        clock=time.process_time,
    )
    rows = []
    for name, runtime in TIMED:
        key, first = f"{name}: {runtime}", f"float32, ONNX: {runtime}"
        ratio = side(comparison, first).ratio(key)
        ends = {"value": ratio.value, "low": ratio.low, "high": ratio.high}
        rows.append({"name": name, "runtime": runtime, "median_s": comparison.median_s(key), "ratio": ends})
    return {"when": now(), "machine": machine(PACKAGES).document(), "others": comparison.others, "rows": rows}


def side(comparison: Any, first: str) -> Any:
    """A comparison whose ratios are against another of its functions."""
    seconds = {first: comparison.seconds[first]} | dict(comparison.seconds)
    return type(comparison)(seconds, comparison.others)


def _run(file: Path, runtime: str) -> Callable[[], object]:
    import numpy as np

    x = np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)
    if runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda: session.run(None, {name: x})
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(file), "CPU", settings)
    return lambda: compiled([x])


# The page -----------------------------------------------------------------------------------------------------------

HEAD = """\
# float32, float16, int8

`{model}` at {size}, in the files that `zoo export`, `zoo export --half` and `zoo export --int8 --calibrate` write.
`zoo eval FILE --dataset camvid` scores each on the {images} images of CamVid's val, with one code for all.
`python -m benchmarks.precision --data DIR` writes this page anew.
"""


def page(results: Mapping[str, Any]) -> str:
    """docs/precision.md from what was measured."""
    first = results["files"][0]
    cells = [("file", "bytes", "of float32", "mIOU, %", "points", "class average, %", "labels as in float32")]
    for row in results["files"]:
        cells.append(
            (
                row["name"],
                f"{row['bytes']:,}",
                f"{row['bytes'] / first['bytes']:.0%}",
                f"{row['miou']:.2f}",
                f"{row['miou'] - first['miou']:+.2f}" if row is not first else "",
                f"{row['class_average']:.2f}",
                f"{row['agreement']:.2%}" if "agreement" in row else "",
            )
        )
    versions = ", ".join(f"{name} {number}" for name, number in first["versions"].items())
    parts = [
        HEAD.format(model=MODEL, size=f"{SIZE[1]}x{SIZE[0]}", images=first["images"]),
        markdown(cells),
        f"Measured from {first['when']} on, with {versions}. Bytes are those of the whole file, an OpenVINO file's "
        "with its weights.",
        *_integers(results),
        *(_times(timing) for timing in results["timings"]),
    ]
    missing = [name for name in FILES if name not in {row["name"] for row in results["files"]}]
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)}.")
    if not results["timings"]:
        parts.append("Times are not measured yet: `--time` on a machine that has nothing else to do.")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _integers(results: Mapping[str, Any]) -> list[str]:
    """How the files in 8 bits were made."""
    from zoo.compress.quantise import RANKED, VALIDATION

    rows = [row for row in results["files"] if "float_layers" in row]
    if not rows:
        return []
    layers, names = "; ".join(f"{row['name']}: {row['float_layers']}" for row in rows), results["calibration"]["images"]
    return [
        "The last column compares images that ranges were not taken from, the same on which NNCF's accuracy control "
        f"chose what stays in float ({VALIDATION} of train, {RANKED} to rank layers); the scores are of all of val. "
        "Convolutions that stayed in float: "
        f"{layers}. Ranges are taken from {len(names)} images of {results['calibration']['from']}, evenly spaced by "
        f"name: {', '.join(names)}."
    ]


def _times(timing: Mapping[str, Any]) -> str:
    cells = [("file", "runtime", "CPU time of an image", "times as fast as float32 in this runtime")]
    for row in timing["rows"]:
        ratio = row["ratio"]
        is_base = row["name"] == timing["rows"][0]["name"]
        ratio_text = f"{ratio['value']:.2f}× ({ratio['low']:.2f}–{ratio['high']:.2f})"
        cells.append((row["name"], row["runtime"], duration(row["median_s"]), "1" if is_base else ratio_text))
    host = timing["machine"]
    busy = "" if timing["others"] is None else f"; other processes took {timing['others']:.0%} of the CPUs meanwhile"
    return (
        f"## Time on {host['cpu']}, {timing['kind']}\n\n{markdown(cells)}\n\nCPU time of one thread, so that waiting "
        f"for others does not count; files take turns, medians of {timing['rounds']} rounds, ratios within a round "
        f"with their 90 % interval. {timing['when']}, {host['cores']} cores, {host['system']}{busy}."
    )


def kept() -> dict[str, Any]:
    """What was measured before."""
    empty: dict[str, Any] = {"files": [], "timings": []}
    return empty | (json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else {})


def keep(results: Mapping[str, Any]) -> None:
    """Write rows and page."""
    ROWS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of CamVid; without it nothing is made or scored")
    parser.add_argument("--keep", type=Path, help="folder where the files stay (default: they are removed)")
    parser.add_argument("--only", choices=FILES, action="append", metavar="FILE", help=f"of {'; '.join(FILES)}")
    parser.add_argument("--time", action="store_true", help="time the files of --keep on this machine")
    parser.add_argument("--page", action="store_true", help="write the page from precision.json alone")
    args = parser.parse_args(argv)
    if not (args.data or args.page or (args.time and args.keep)):
        parser.error("give --data DIR, --time with --keep DIR, or --page")
    results = kept()
    with TemporaryDirectory() as folder:
        files = args.keep or Path(folder)
        files.mkdir(parents=True, exist_ok=True)
        if args.data:
            measure(results, files, args.data, args.only or list(FILES))
        if args.time:
            timing = timed(files) | {"kind": vectors(), "rounds": ROUNDS}
            other_kinds = [row for row in results["timings"] if row["kind"] != timing["kind"]]
            results |= {"timings": [*other_kinds, timing]}
    keep(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
