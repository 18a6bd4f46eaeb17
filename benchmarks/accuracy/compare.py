"""The bench against simpler predictors, against long runs, and against its own early epochs.

`python -m benchmarks.accuracy.compare` prints the tables; `-o docs/accuracy.md` writes them anew into that page.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.candidates import labels_text
from benchmarks.accuracy.judgement import held_out_text
from benchmarks.accuracy.proxy_scores import PROXIES, read_proxies
from search.accuracy.bench.cross_validation import CONFIDENCE, Judged, best, judge
from search.accuracy.bench.model import FAMILY, Inputs, forms, inputs_of
from search.accuracy.bench.protocol import EPOCHS, PROTOCOL, PROTOCOL_TEXT, TABLE, read_runs
from search.accuracy.bench.table import Measured, measured, noise, noise_sd
from search.accuracy.linear import points
from zoo.config import load_config
from zoo.errors import ConfigError
from zoo.files import atomic
from zoo.markdown import table
from zoo.specs import Spec
from zoo.statistics import kendall, spearman

MIN_NETWORKS = 5
"""Fewer cannot be compared."""


def compare(table: Path = TABLE) -> dict[str, Any]:
    """All comparisons of a table as plain values for JSON. Raises ConfigError where it has too few networks."""
    networks = [network for network in measured(read_runs(table)) if network.spec.family == FAMILY]
    if len(networks) < MIN_NETWORKS:
        raise ConfigError(
            f"a comparison needs {MIN_NETWORKS} networks measured under {PROTOCOL}, but {table} has {len(networks)}; "
            "measure more with zoo bench-table --fill --data DIR"
        )
    judged = judgements(networks)
    chosen = best(judged)
    return {
        "protocol": PROTOCOL,
        "protocol_text": PROTOCOL_TEXT,
        "networks": len(networks),
        "runs": sum(len(network.runs) for network in networks),
        "hours": sum(run.seconds for network in networks for run in network.runs) / 3600,
        "miou": {"low": min(n.mean for n in networks), "high": max(n.mean for n in networks)},
        "noise": noise_of(networks),
        "used": chosen.form.name,
        "forms": [_judged(network, chosen) for network in judged],
        "scores": raw_scores(networks),
        "long": long_runs(networks),
        "settling": settling(networks),
    }


def judgements(networks: Sequence[Measured]) -> list[Judged]:
    """Every form left out; proxies where every network has been scored."""
    proxies = _proxies(networks)
    inputs = inputs_of(networks, proxies)
    return [judge(form, networks, inputs) for form in forms(PROXIES if proxies else ())]


def _proxies(networks: Sequence[Measured]) -> Mapping[Spec, Mapping[str, float]] | None:
    proxies = read_proxies()
    return proxies if all(network.spec in proxies for network in networks) else None


def _judged(result: Judged, chosen: Judged) -> dict[str, Any]:
    return {
        "name": result.form.name,
        "title": result.form.title,
        "anywhere": result.form.anywhere,
        "used": result is chosen,
        "mae": result.mae,
        "mae_se": result.mae_se,
        "rmse": result.rmse,
        "spearman": result.spearman,
        "kendall": result.kendall,
        "within_90": result.coverage,
        "worse_by": _paired(result, chosen),
    }


def _paired(result: Judged, chosen: Judged) -> dict[str, float]:
    """By how much the absolute error is above that of the form in use, on the same networks."""
    gap = np.abs(result.error) - np.abs(chosen.error)
    return {"mean": float(gap.mean()), "se": float(gap.std(ddof=1) / np.sqrt(len(gap)))}


def noise_of(networks: Sequence[Measured]) -> dict[str, Any]:
    """Noise of a run in percent and points, and how alike two seeds rank the networks that ran twice."""
    percent, in_points = noise(networks), noise(networks, points)
    twice = [network for network in networks if len(network.runs) > 1]
    first, second = ([network.runs[k].miou for network in twice] for k in (0, 1))
    return {
        "sd": percent.sd if percent else None,
        "sd_points": in_points.sd if in_points else None,
        "sd_points_used": noise_sd(networks),
        "freedom": percent.freedom if percent else 0,
        "networks": len(twice),
        "spearman": spearman(first, second),
        "kendall": kendall(first, second),
    }


RAW: Mapping[str, Callable[[Inputs], Any]] = {
    "parameters": lambda inputs: inputs.params,
    "MACs": lambda inputs: inputs.macs,
    "published-figures model": lambda inputs: inputs.published,
}


def raw_scores(networks: Sequence[Measured]) -> list[dict[str, Any]]:
    """Rank correlation with the measured mIOU of scores that are fitted to nothing."""
    proxies = _proxies(networks)
    inputs = inputs_of(networks, proxies)
    scores = {name: read(inputs) for name, read in RAW.items()}
    scores |= {f"zero-cost proxy {name}": column for name, column in inputs.proxies.items()}
    means = [network.mean for network in networks]
    return [
        {"title": name, "spearman": spearman(score, means), "kendall": kendall(score, means)}
        for name, score in scores.items()
    ]


def long_runs(networks: Sequence[Measured]) -> dict[str, Any]:
    """The networks that ship with weights trained for long on CamVid: their mIOU after a short and a long run."""
    from pretrained.manifest import manifest

    by_spec = {network.spec: network for network in networks}
    rows: list[dict[str, Any]] = []
    for name, entry in load_config().models.items():
        benched = by_spec.get(entry.spec)
        tags = {w.tag: w for w in manifest().of(name)} if entry.alias_of is None else {}
        score = next((m for m in tags["camvid"].metrics if m.split == "val"), None) if "camvid" in tags else None
        if benched is not None and score is not None and score.value is not None:
            rows.append({"model": name, "short": benched.mean, "runs": len(benched.runs), "long": score.value})
    short, long = ([row[key] for row in rows] for key in ("short", "long"))
    return {"networks": rows, "kendall": kendall(short, long), "spearman": spearman(short, long)}


def settling(networks: Sequence[Measured]) -> list[dict[str, Any]]:
    """After each epoch: how alike it ranks the networks to the last one, and their mean mIOU."""
    curves = np.array([np.mean([run.curve for run in network.runs], axis=0) for network in networks])
    last = curves[:, -1]
    return [
        {
            "epoch": epoch + 1,
            "spearman": spearman(curve, last),
            "kendall": kendall(curve, last),
            "miou": float(curve.mean()),
        }
        for epoch, curve in enumerate(curves.T)
    ]


def markdown(comparison: Mapping[str, Any]) -> dict[str, str]:
    """The blocks of docs/accuracy.md."""
    return {
        "protocol": f"{_summary(comparison)}\n\nProtocol `{comparison['protocol']}`: {comparison['protocol_text']}",
        "forms": f"{_form_table(comparison)}\n\n{_form_words(comparison)}",
        "scores": _right(
            ("score", "Spearman", "Kendall"),
            [(row["title"], _rank(row["spearman"]), _rank(row["kendall"])) for row in comparison["scores"]],
        ),
        "noise": _noise_words(comparison),
        "long": _long(comparison),
        "settling": _settling(comparison),
        "labels": labels_text(),
        "held_out": held_out_text(),
    }


def _summary(comparison: Mapping[str, Any]) -> str:
    low, high = comparison["miou"]["low"], comparison["miou"]["high"]
    return (
        f"{comparison['networks']} networks, {comparison['runs']} runs, {comparison['hours']:.1f} hours of training; "
        f"mIOU from {low:.1f} to {high:.1f} %."
    )


def _form_table(comparison: Mapping[str, Any]) -> str:
    def rows() -> Iterator[tuple[str, ...]]:
        for row in comparison["forms"]:
            title = f"**{row['title']}** (in use)" if row["used"] else row["title"]
            gap = "" if row["used"] else f"{row['worse_by']['mean']:+.2f} ± {row['worse_by']['se']:.2f}"
            yield (
                title,
                f"{row['mae']:.2f} ± {row['mae_se']:.2f}",
                f"{row['rmse']:.2f}",
                _rank(row["spearman"]),
                _rank(row["kendall"]),
                f"{100 * row['within_90']:.0f} %",
                gap,
            )

    heads = (
        "predictor",
        "MAE",
        "RMSE",
        "Spearman",
        "Kendall",
        f"in {CONFIDENCE:.0%} interval",
        "MAE above the one in use",
    )
    return _right(heads, list(rows()))


def _form_words(comparison: Mapping[str, Any]) -> str:
    used = next(row for row in comparison["forms"] if row["used"])
    close = [
        row["title"]
        for row in comparison["forms"]
        if not row["used"] and row["worse_by"]["mean"] < 2 * row["worse_by"]["se"]
    ]
    proxy = [row for row in comparison["forms"] if not row["anywhere"] and row["rmse"] < used["rmse"]]
    words = f"`--accuracy bench` uses the one with the least RMSE that predicts a whole space at once: {used['title']}."
    if close:
        words += (
            f" On {comparison['networks']} networks it cannot be told apart (two standard errors) from: "
            f"{', '.join(close)}."
        )
    if proxy:
        names = ", ".join(row["title"] for row in proxy)
        words += f" Better, but not usable for a hundred thousand candidates, as each must be built and run: {names}."
    return words


def _noise_words(comparison: Mapping[str, Any]) -> str:
    noise = comparison["noise"]
    if noise["sd"] is None:
        return "No network has been trained with two seeds yet."
    rank = "" if noise["spearman"] is None else (
        f" Ranked by the one seed and by the other, these networks correlate by {noise['spearman']:.2f} (Spearman) and "
        f"{noise['kendall']:.2f} (Kendall)."
    )  # fmt: skip
    return (
        f"{noise['networks']} networks ran with two seeds: standard deviation of one run {noise['sd']:.2f} points of "
        f"mIOU ({noise['freedom']} degrees of freedom).{rank}"
    )


def _long(comparison: Mapping[str, Any]) -> str:
    rows = sorted(comparison["long"]["networks"], key=lambda row: -row["long"])
    scores = _right(
        ("network", "trained for long, 480x360, %", "the bench, %"),
        [(f"`{row['model']}`", f"{row['long']:.1f}", f"{row['short']:.1f}") for row in rows],
    )
    tau, count = comparison["long"]["kendall"], len(rows)
    if tau is None:
        return scores
    pairs = count * (count - 1) // 2
    conclusion = (
        f"even a random order reaches 1 with probability 1/{math.factorial(count)}, so that this shows little"
        if tau > 0
        else "**short runs rank these networks the wrong way round**, so that the bench must not decide between them"
    )
    return f"{scores}\n\nKendall's tau {tau:.2f} of {count} networks, which is {pairs} pairs: {conclusion}."


def _settling(comparison: Mapping[str, Any]) -> str:
    rows = comparison["settling"]
    heads = ("after epoch", *(str(row["epoch"]) for row in rows))
    values = [
        ("Spearman with the last", *(_rank(row["spearman"]) for row in rows)),
        ("Kendall with the last", *(_rank(row["kendall"]) for row in rows)),
        ("mean mIOU, %", *(f"{row['miou']:.1f}" for row in rows)),
    ]
    settled = next(
        (row["epoch"] for row in rows if all((r["spearman"] or 0) >= 0.9 for r in rows[row["epoch"] - 1 :])), EPOCHS
    )
    return (
        f"{_right(heads, values)}\n\nFrom epoch {settled} on, the rank correlation with the last stays at 0.9 or above."
    )


def _rank(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _right(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with numbers in all columns but the first."""
    return table(heads, rows, len(heads) - 1)


BLOCK = re.compile(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", re.DOTALL)


def written(text: str, blocks: Mapping[str, str]) -> str:
    """A page with every marked block written anew. Raises KeyError for an unknown block."""
    return BLOCK.sub(lambda m: f"<!-- {m.group(1)} -->\n{blocks[m.group(1)]}\n<!-- /{m.group(1)} -->", text)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("-o", dest="page", type=Path, help="a page with marked blocks")
    parser.add_argument("--table", type=Path, default=TABLE, help="another table than the one that ships")
    args = parser.parse_args(argv)
    blocks = markdown(compare(args.table))
    if args.page is None:
        print("\n\n".join(blocks.values()))
        return
    text = written(args.page.read_text(encoding="utf-8"), blocks)
    with atomic(args.page) as partial:
        partial.write_text(text, encoding="utf-8")
    print(args.page, file=sys.stderr)


if __name__ == "__main__":
    main()
