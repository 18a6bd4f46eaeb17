"""Makes docs/search-example.md, its report and its pictures from the folder of a study with trained candidates.

`python docs/example.py runs/camvid` writes search-example.md, example-report.html (not in git), and, with a Chromium,
report.png and report-dark.png beside this file. Nothing in them is written by hand.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from search.describe import command, question, space_names  # noqa: E402
from search.query import Query  # noqa: E402
from search.report.html import write_report  # noqa: E402
from search.runs.writer import query_from  # noqa: E402
from search.union import searched  # noqa: E402
from zoo.cli.specs import apart, settings  # noqa: E402
from zoo.cli.study import refresh  # noqa: E402
from zoo.config import load_config  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIGHT, DARK = ("--window-size=1280,1500",), ("--window-size=500,1500", "--blink-settings=preferredColorScheme=0")


def main(run: Path) -> None:
    """Everything from one run."""
    refresh(run)
    document = json.loads((run / "front.json").read_text(encoding="utf-8"))
    document["plan"]["data"] = document["plan"]["dataset"]  # where the data lie is nobody's business
    page = HERE / "example-report.html"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "runs" / run.resolve().name
        copy.mkdir(parents=True)
        shutil.copy(run / "sample.csv", copy)
        (copy / "front.json").write_text(json.dumps(document), encoding="utf-8")
        with inside(folder):
            write_report(copy.relative_to(folder), page)
    (HERE / "search-example.md").write_text(text(document), encoding="utf-8")
    if CHROMIUM:
        picture(page, HERE / "report.png", *LIGHT)
        picture(page, HERE / "report-dark.png", *DARK)


@contextmanager
def inside(folder: str) -> Iterator[None]:
    """In another working directory: a report names its run as it was called."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def picture(page: Path, target: Path, *flags: str) -> None:
    """The top of a page as a browser shows it."""
    common = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000")
    command_line = [str(CHROMIUM), *common, *flags, f"--screenshot={target}", page.as_uri()]
    subprocess.run(command_line, check=True, timeout=300, capture_output=True)


def text(document: dict[str, Any]) -> str:
    """The page."""
    query, plan = query_from(document["query"]), document["plan"]
    trials, accuracy = document["trials"], document["accuracy"]
    follow = trials["follow_up"]
    command_text = command(query, "runs/camvid", space_names(query, load_config()) or ("SPACE",), plan)
    sampler, left_out, confidence = document["sampler"], accuracy["leave_one_out"], query.confidence
    hours = (trials["seconds"] + follow["seconds"]) / 3600
    long = "Front, by the long protocol" if follow["complete"] else "Front"
    return "\n".join(
        (
            "# A search with trained candidates",
            "",
            _paragraph(
                f"{question(query)}. Small on purpose: {trials['asked']} candidates, {plan['epochs']} epochs each of "
                f"{_pixels(plan)} images, so that the mIOU is far from what longer training reaches. What it shows is "
                "the way from a question to networks with weights, and how sure the answer is."
            ),
            "",
            "```",
            _wrapped(command_text),
            "```",
            "",
            _paragraph(
                f"{document['enumerated']:,} specs were enumerated, {document['feasible']:,} are within the limits. "
                f"The sampler is {sampler['name']}: {sampler['why']}. {_count(trials)} {_followed(plan, follow)} "
                f"All trainings together took {hours:.1f} h on one core that had other work as well."
            ),
            "",
            "![The report of this search](report.png)",
            "",
            "The report is one HTML file without external requests; `zoo report RUN` writes it.",
            "[report-dark.png](report-dark.png) is its top on a narrow screen in the dark.",
            "",
            f"## {long}",
            "",
            *_front(document, query),
            "",
            _paragraph(
                f"In brackets: 95 % intervals of the mean mIOU, {confidence:.0%} intervals of predicted cost. Noise "
                f"of one run: {accuracy['noise_sd']:.2f} points ({accuracy['noise_from']}). The expected mIOU is "
                f"{accuracy['expected']}."
            ),
            "",
            *_differences(document),
            _paragraph(
                f"Leave-one-out error of the surrogate: {left_out['mae']:.1f} points ({left_out['n']} trials). So "
                "few and so short trials say little about candidates that were not trained."
            ),
            "",
            "## All that was measured",
            "",
            *_tried(document),
            "",
            _paragraph(f"Protocol of the front: {accuracy['protocol']}."),
            "",
            _paragraph(
                f"`zoo export 'runs/camvid#{document['chosen']}'` writes the first one as ONNX with the weights of its "
                "first run, its spec, and its card. `python docs/example.py runs/camvid` wrote this page."
            ),
            "",
        )
    )


def _paragraph(words: str) -> str:
    return textwrap.fill(words, 120, break_long_words=False, break_on_hyphens=False)


def _pixels(plan: dict[str, Any]) -> str:
    return f"{plan['size'][1]}x{plan['size'][0]}"


def _count(trials: dict[str, Any]) -> str:
    ended = f"{_counted(trials['complete'], 'trial')} completed, {trials['stopped']} stopped early"
    return f"{ended}, {trials['failed']} failed."


def _followed(plan: dict[str, Any], follow: dict[str, Any]) -> str:
    if not follow["asked"]:
        return "The long protocol had not begun when this page was written; the figures are of the short one."
    return (
        f"The best {plan['promote']} then trained by the long protocol ({plan['long_epochs']} epochs), and those on "
        f"their front again with {_counted(plan['repeats'], 'other seed')}: {_count(follow)}"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _wrapped(line: str) -> str:
    """A command over several lines, each option with its value on one."""
    words, rows = shlex.split(line), [""]
    for i, word in enumerate(words):
        quoted = shlex.quote(word)
        pair_length = len(quoted) + (len(words[i + 1]) + 1 if word.startswith("--") and i + 1 < len(words) else 0)
        if (
            rows[-1]
            and len(rows[-1]) + pair_length > 100
            and (word.startswith("-") or not words[i - 1].startswith("-"))
        ):
            rows[-1] += " \\"
            rows.append("   ")
        rows[-1] += (" " if rows[-1] else "") + quoted
    return "\n".join(rows)


def _front(document: dict[str, Any], query: Query) -> list[str]:
    front = document["front"]
    common, specs = apart([searched(document["query"]["space"], member["spec"]) for member in front])
    devices = list(front[0]["devices"])
    heads = ["#", "spec", "mIOU, %", "runs", "expected, %", "parameters", *(f"latency on {d}, ms" for d in devices)]
    lines = [f"| {' | '.join(heads)} |", "| --: | --- |" + " --: |" * (len(heads) - 2)]
    for member, spec in zip(front, specs, strict=True):
        miou = member["miou"]
        cells = [
            str(member["rank"]),
            spec.replace("\n", " "),
            f"{miou['mean']:.1f} ({miou['low']:.1f}–{miou['high']:.1f})",
        ]
        cells += [" ".join(f"{run:.1f}" for run in member["runs"]), f"{member['predicted']['mean']:.1f}"]
        cells += [f"{member['params']:,}", *(_interval(member["devices"][d]["latency_s"]) for d in devices)]
        lines.append(f"| {' | '.join(cells)} |")
    return ([f"The same in all: {common}.", ""] if common else []) + lines


def _interval(latency_s: dict[str, float]) -> str:
    mean, low, high = (1e3 * latency_s[part] for part in ("mean", "low", "high"))
    return f"{mean:.0f} ({low:.0f}–{high:.0f})"


def _differences(document: dict[str, Any]) -> list[str]:
    out = []
    for pair in document["differences"]:
        (a, b), real = pair["ranks"], "more than noise" if pair["exceeds_noise"] else "no more than noise"
        sentence = f"#{a} is better than #{b} by {pair['difference']:.1f} points: {real} (95 %), which reaches "
        out += [f"{sentence}{pair['noise']:.1f}.", ""]
    return out


def _tried(document: dict[str, Any]) -> list[str]:
    rows = document["front"] + document["tried"]
    lines = ["| spec | mIOU, % | how | parameters |", "| --- | --: | --- | --: |"]
    for row in rows:
        runs_text = row["miou_source"].partition(";")[0].partition("(")[2]
        spec = searched(document["query"]["space"], row["spec"])
        lines.append(f"| {settings(spec, spec)} | {row['miou']['mean']:.1f} | {runs_text} | {row['params']:,} |")
    return lines


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/example.py RUN")
    main(Path(sys.argv[1]))
