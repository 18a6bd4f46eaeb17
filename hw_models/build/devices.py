"""Builds the shipped devices from the public sources: `python -m hw_models.build SOURCES`.

What ships: numbers and published points with their sources; fitted coefficients; the rows that look-up
uses. Sources without a licence (SysIdentif, TopHub) ship as coefficients and a small extract only. The
files do not depend on when or where they are built.
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hw_models.analytic.roofline import PARAMETERS
from hw_models.build.fit_tables import TableFit, extract, fit_power, fit_tables, with_transposed
from hw_models.build.recipes import RECIPES, Recipe
from hw_models.build.sources import depthwise_rate, published, significant, spec_text
from hw_models.calibrate import calibrated
from hw_models.device import SHIPPED, Device, Fit, read_device
from hw_models.kernels import KINDS
from hw_models.tables import KernelRow, Point
from hw_models.validate import left_out_sd, validate
from zoo.files import atomic

Array = NDArray[np.float64]


def build(recipe: Recipe, sources: Path, into: Path) -> Device:
    """Write one device's folder and give the device back as it reads itself."""
    folder = into / recipe.name
    fit = _table_fit(recipe, sources)
    points = [published(sources, selector) for selector in recipe.points]
    points += recipe.whole_networks(sources) if recipe.whole_networks else []
    extracts = {name: extract(rows_of(sources), count) for name, rows_of, count in recipe.extracts}
    _write_yaml(folder / "device.yaml", _description(recipe, list(extracts)))
    _write_csv(folder / "points.csv", Point, points)
    for name, chosen in extracts.items():
        _write_csv(folder / name, KernelRow, chosen)
    share = depthwise_rate(sources) / RECIPES["titanx"].peak_macs_s if recipe.stack == "pytorch-eager" else None
    power = fit_power(recipe.power_rows(sources)[::5], recipe) if recipe.power_rows else recipe.power_prior
    fits = _unfitted(recipe, fit, share, power)
    for _ in range(2):
        # Once to learn how far left-out networks lie, once more to weigh the points by it.
        _write_coefficients(folder, recipe, fit, *fits)
        device = calibrated(read_device(folder), points)
        fits = (device.latency, device.power)
        _write_coefficients(folder, recipe, fit, *fits)
        # The error of a network that is like no reading.
        device = replace(read_device(folder), look_up=False)
        checked = validate(device)
        fits = (
            replace(device.latency, network_sd=left_out_sd(checked, "latency_s", recipe.latency_network_sd, 2)),
            replace(device.power, network_sd=left_out_sd(checked, "power_w", recipe.power_network_sd, 2)),
        )
    _write_coefficients(folder, recipe, fit, *fits)
    return read_device(folder)


def _table_fit(recipe: Recipe, sources: Path) -> TableFit:
    """The roofline fitted to the recipe's tables, or its prior where it has none."""
    if recipe.table is None:
        return TableFit(np.log([recipe.table_prior[name] for name in PARAMETERS]), {})
    fit = fit_tables(recipe.table(sources), recipe)
    return with_transposed(fit, recipe.transposed(sources), recipe) if recipe.transposed else fit


def _unfitted(
    recipe: Recipe, fit: TableFit, depthwise_share: float | None, power: Mapping[str, float]
) -> tuple[Fit, Fit]:
    """What is known before the whole-network points.

    depthwise_share: of the peak, which PyTorch's depth-wise convolution reaches on the one card it was
    measured on; the kernel is bound by instructions, so the share is carried over to PyTorch on the others.
    """
    table = dict(zip(PARAMETERS, np.exp(fit.theta).tolist(), strict=True))
    if depthwise_share is not None:
        table["depthwise"] = table["efficiency"] / depthwise_share
    prior = {name: recipe.stack_prior.get(name, table[name]) for name in PARAMETERS}
    return (
        Fit.unfitted(prior, recipe.stack_sd, recipe.latency_network_sd),
        Fit.unfitted(power, recipe.power_sd, recipe.power_network_sd),
    )


def _description(recipe: Recipe, tables: list[str]) -> dict[str, Any]:
    clocks = asdict(recipe.clocks)
    return {
        "title": recipe.title,
        "stack": recipe.stack,
        "precision": recipe.precision,
        "power_covers": recipe.power_covers,
        "power_note": recipe.power_note,
        "clocks": {**clocks, "modes": dict(recipe.clocks.modes)},
        "numbers": {name: asdict(number) for name, number in recipe.numbers.items()},
        "coefficients": "coefficients.json",
        "kernels": tables,
        "points": ["points.csv"],
        "notes": list(recipe.notes),
    }


def _write_coefficients(folder: Path, recipe: Recipe, fit: TableFit, latency: Fit, power: Fit) -> None:
    held_out = {kind: _spread(errors) for kind, errors in fit.held_out.items() if len(errors) >= 20}
    document = {
        "about": "written by hw_models.build; values are natural units, covariances those of logarithms",
        "latency": _fit_document(latency),
        "power": _fit_document(power),
        "table": _values(PARAMETERS, fit.theta),
        "kernel_sd": {kind: significant(held_out.get(kind, recipe.kernel_sd[kind]), 3) for kind in KINDS},
        "rests_on": {kind: recipe.rests_on[kind] for kind in KINDS},
        "held_out": {kind: _held_out(errors) for kind, errors in sorted(fit.held_out.items())},
    }
    _write(folder / "coefficients.json", json.dumps(document, indent=1) + "\n")


def _held_out(errors: Array) -> dict[str, float]:
    off = np.abs(np.expm1(errors))
    return {
        "rows": len(errors),
        "median_error": significant(float(np.median(off)), 3),
        "mape_of_best_95_percent": significant(float(np.sort(off)[: max(1, int(0.95 * len(off)))].mean()), 3),
        "within_10_percent": significant(float((off < 0.1).mean()), 3),
    }


def _spread(errors: Array) -> float:
    """Standard deviation about zero of the central 95 %, so that single outliers do not speak for all."""
    ordered = np.sort(np.abs(errors))[: max(1, int(0.95 * len(errors)))]
    return float(np.sqrt(np.mean(ordered**2)))


def _values(names: Sequence[str] | Mapping[str, str], logs: Array) -> dict[str, float]:
    return {name: significant(float(value), 5) for name, value in zip(names, np.exp(logs), strict=True)}


def _fit_document(fit: Fit) -> dict[str, Any]:
    return {
        "values": _values(fit.names, fit.theta),
        "prior": _values(fit.names, fit.prior),
        "prior_sd": _values(fit.names, np.log(fit.prior_sd)),
        "covariance": [[round(float(x), 5) for x in row] for row in fit.covariance],
        "network_sd": significant(fit.network_sd, 3),
    }


def _write_yaml(path: Path, document: Mapping[str, Any]) -> None:
    _write(path, yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=120))


def _write_csv(path: Path, row_type: type, rows: Sequence[Any]) -> None:
    text = io.StringIO()
    columns = [field.name for field in fields(row_type)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in columns])
    _write(path, text.getvalue())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return spec_text(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _write(path: Path, text: str) -> None:
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Build all shipped devices, or those named."""
    parser = argparse.ArgumentParser(prog="python -m hw_models.build", description=__doc__)
    parser.add_argument("sources", type=Path, help="folder with hw/ and figures/")
    parser.add_argument("--into", type=Path, default=SHIPPED, help="where the devices' folders go")
    parser.add_argument("--device", choices=tuple(RECIPES), action="append", help="build this one only")
    args = parser.parse_args(argv)
    for name in args.device or RECIPES:
        with TemporaryDirectory() as scratch:
            device = build(RECIPES[name], args.sources, Path(scratch))
            checked = validate(device)
            for path in sorted(device.folder.iterdir()):
                _write(args.into / name / path.name, path.read_text(encoding="utf-8"))
        for metric in ("latency_s", "power_w"):
            error, share_covered = checked.mape(metric), checked.coverage(metric)
            if error is not None and share_covered is not None:
                print(f"{name} {metric}: left-out MAPE {error:.1%}, coverage {share_covered:.0%}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
