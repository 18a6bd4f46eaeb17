"""The part of `zoo search` that measures candidates: `--accuracy train`, `--trials`, `--resume`."""

import argparse
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.study.options import PLANNED
from zoo.cli.command import (
    Arguments,
    config_of,
    count_argument,
    emit,
    note,
    positive_argument,
    si,
    size_argument,
    table,
    usage,
)
from zoo.cli.live import watching
from zoo.cli.outputs import check_run_folder
from zoo.cli.specs import apart
from zoo.config_study import seconds
from zoo.errors import ZooError
from zoo.reading import exists
from zoo.text import quoted

if TYPE_CHECKING:
    from rich.console import Console

    from search.query import Query
    from search.study.config import Plan
    from search.study.study import MakeEngine

STARTS = ("sampler", "trials", "resume", "dataset", "storage", "budget", "engine", "address")
"""Options that only a study has; any of them, or --accuracy train, makes one."""

CHANGEABLE = (
    "trials", "budget", "time_limit", "data", "storage", "train_on", "threads", "promote", "repeats", "long_epochs",
)  # fmt: skip
"""Options that may differ when a study goes on; the last as long as nothing has trained by the long protocol."""


def duration_argument(text: str) -> float:
    """A duration with its unit, in seconds.

    >>> duration_argument("1.5m")
    90.0
    """
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, but is {text!r}")
    return int(text)


class _Settings(argparse.Action):
    """Collects KEY=VALUE; values are as in JSON, or else text."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        key, equals, _ = values.partition("=")
        if not key or not equals:
            parser.error(f"{option_string} {values}: must be KEY=VALUE, as lr=2e-3")
        setattr(namespace, self.dest, (getattr(namespace, self.dest) or {}) | _setting(values))


def _setting(text: str) -> dict[str, Any]:
    """Key and value of KEY=VALUE."""
    key, _, value = text.partition("=")
    try:
        return {key: json.loads(value)}
    except ValueError:
        return {key: value}


def configure_study(parser: argparse.ArgumentParser) -> None:
    """Options of a study."""
    group = parser.add_argument_group("a study: candidates are measured, one trial after the other")
    add = group.add_argument
    add("--sampler", metavar="S", help="auto (default), ehvi, gp, tpe, nsga2, nsga3, random")
    add("--trials", type=count_argument, metavar="N", help="candidates to measure (default 30)")
    add("--seed", type=_whole, metavar="N", help="all randomness follows from it (default 0)")
    add("--resume", metavar="RUN", help="go on with the study in this folder, also beside a process that does")
    add("--budget", type=duration_argument, metavar="T", help="time for everything, as 2h")
    add("--time-limit", type=duration_argument, metavar="T", help="time for one trial; a longer one has failed")
    add("--storage", metavar="URL", help="any Optuna storage (default: a journal in the run's folder)")
    add("--engine", choices=("local", "ray"), help="local (default): one trial at a time; ray: on every worker")
    add("--address", metavar="A", help="a running Ray cluster: auto, or HOST:PORT (default: one of its own)")
    add("--gpus-per-trial", type=positive_argument, metavar="X", help="GPUs that Ray gives each trial (default 0)")
    train = parser.add_argument_group("--accuracy train")
    add = train.add_argument
    add("--dataset", metavar="D", help="camvid, cityscapes, …, or scenes, which is generated")
    add("--data", metavar="DIR", help="folder of the data set")
    add("--epochs", type=count_argument, metavar="N", help="of the short protocol (default 10)")
    add("--long-epochs", type=count_argument, metavar="N", help="of the long protocol (default 40)")
    add("--train-size", type=size_argument, metavar="WxH", help="images in training (default 480x360)")
    add("--promote", type=_whole, metavar="N", help="candidates trained by the long protocol (default 4)")
    add("--repeats", type=_whole, metavar="N", help="other seeds that the front's members train with (default 2)")
    add("--halving", action=argparse.BooleanOptionalAction, default=None, help="stop what lags (default)")
    add("--recipe", metavar="NAME", help="zoo (default) or authors")
    add(
        "--train-set",
        action=_Settings,
        metavar="KEY=VALUE",
        help="change a field of the recipe, as lr=2e-3; repeatable",
    )
    add("--train-on", metavar="DEVICE", help="cpu (default) or cuda")
    add("--threads", type=count_argument, metavar="N", help="CPU threads a trial (default 1)")


def named_study(args: Arguments) -> dict[str, Any] | None:
    """The options that the named search of zoo.yaml gives a study; None where it is no study."""
    named = config_of(args).search(args.name)
    if args.resume is not None or (named.study is None and named.accuracy != "train"):
        return None
    given = dict(named.study.given()) if named.study else {}
    given |= {name: seconds(given[name]) for name in ("budget", "time_limit") if name in given}
    if "train_set" in given:
        given["train_set"] = {key: value for text in given["train_set"] for key, value in _setting(text).items()}
    return given | ({"accuracy": "train"} if named.accuracy == "train" else {})


def is_study(args: Arguments) -> bool:
    """Whether anything asks for trials: an option, or the named search, unless another accuracy is asked for."""
    if args.accuracy == "train" or any(getattr(args, name) is not None for name in STARTS):
        return True
    return args.accuracy is None and named_study(args) is not None


def run_study(
    args: Arguments,
    query_of: Callable[[Arguments], "Query"],
    progress_of: Callable[[str], AbstractContextManager[Callable[[int, int], None]]],
    draw: Callable[[Path], None],
) -> int:
    """Start a study or go on with one; print its front."""
    from search.exact import NothingFeasible
    from search.study.results import write_findings
    from search.study.study import start

    query, plan, folder = _resumed(args) if args.resume is not None else _planned(args, query_of(args))
    if args.resume is None:
        check_run_folder(args, folder)
    try:
        with ExitStack() as bar, watching(bar.close) as watched:
            done = start(
                query,
                plan,
                folder,
                engine=_engine(args),
                say=watched.say,
                watch=watched.watch,
                progress=bar.enter_context(progress_of("enumerating")),
                resume=args.resume is not None,
            )
    except NothingFeasible as nothing:
        if args.json:
            print(json.dumps({"run": str(folder)} | nothing.report, allow_nan=False, indent=2))
        raise
    except KeyboardInterrupt:
        _write_so_far(query, plan, folder)
        raise
    document = {"run": str(folder)} | write_findings(done, folder)
    if not args.no_plots:
        draw(folder)
    emit(args, document, lambda console: _print(console, document, args.top or 10))
    return 0


def _write_so_far(query: "Query", plan: "Plan", folder: Path) -> None:
    """Of a study that was interrupted, the front of what was told."""
    from search.study.results import write_findings
    from search.study.study import so_far

    with suppress(ZooError):
        write_findings(so_far(query, plan, folder), folder)
        note(f"zoo: what was measured so far is in {folder}/front.csv; go on with zoo search --resume {quoted(folder)}")


def refresh(folder: Path) -> None:
    """Bring the front of a study that has not ended up to date, where its storage is at hand; else leave it."""
    from search.study.results import write_findings
    from search.study.study import resumed, so_far
    from search.study.trust import is_trusted

    if exists(folder / "study.json") and not exists(folder / "front.json"):
        query, plan = resumed(folder)
        if not is_trusted(folder, plan):
            raise ZooError(
                f"{folder}: the study was not begun here, and its trials are not in its folder; go on with "
                f"zoo search --resume {quoted(folder)} and --storage or --data"
            )
        write_findings(so_far(query, plan, folder), folder)


def _given(args: Arguments) -> dict[str, Any]:
    return {PLANNED[name]: value for name in PLANNED if (value := getattr(args, name)) is not None}


def _planned(args: Arguments, query: "Query") -> "tuple[Query, Plan, Path]":
    from search.space import digest
    from search.study.config import Plan

    given = {PLANNED[name]: value for name, value in (named_study(args) or {}).items()} | _given(args)
    plan = Plan(**given)
    named = digest(query.describe() | plan.document())[:10]
    return query, plan, Path(args.folder) if args.folder else Path("runs") / f"study-{named}"


def _resumed(args: Arguments) -> "tuple[Query, Plan, Path]":
    from search.study.study import resumed

    fixed = [name for name in PLANNED if name not in CHANGEABLE and getattr(args, name) is not None]
    fixed += [name for name in ("device", "space", "objective", "size", "confidence", "folder") if getattr(args, name)]
    if fixed:
        options = ", ".join("-o" if name == "folder" else "--" + name.replace("_", "-") for name in fixed)
        raise usage(f"--resume goes on with the study as it was begun, so that {options} cannot be given with it")
    folder = Path(args.resume)
    query, plan = resumed(folder)
    _refuse_strange(folder, plan, args)
    if plan.storage and "***" in plan.storage and not args.storage:
        raise usage(
            f"{folder}: its storage {plan.storage} has a password, which is not kept; give the URL with --storage"
        )
    return query, replace(plan, **_given(args)), folder


def _refuse_strange(folder: Path, plan: "Plan", args: Arguments) -> None:
    """Raise UsageError where the folder names a database or data that the user did not give on this machine."""
    from search.study.trust import is_trusted

    named = [name for name in ("storage", "data") if getattr(plan, name) is not None and not getattr(args, name)]
    if named and not is_trusted(folder, plan):
        options = " and ".join(f"--{name}" for name in named)
        raise usage(
            f"{folder}: the study was not begun here, so that the {' and '.join(named)} that its folder names "
            f"{'are' if len(named) > 1 else 'is'} not used unasked; give {options}"
        )


def _engine(args: Arguments) -> "MakeEngine":
    from search.study.study import local

    if args.engine != "ray":
        if args.address or args.gpus_per_trial:
            raise usage("--address and --gpus-per-trial are options of --engine ray")
        return local
    from search.study.engines.ray_cluster import on_ray

    return on_ray(address=args.address, gpus_per_trial=args.gpus_per_trial or 0.0)


def _print_conflict(console: "Console", prior: Mapping[str, Any] | None) -> None:
    """Where the trials contradict the published figures; studies of older versions do not say."""
    if prior and prior["conflict"]:
        console.print(
            f"the trials contradict the published figures: they are {prior['times_as_probable']:.3g} times as probable "
            f"where those count for {prior['weight']:.0%}, as they do here"
        )


def _print(console: "Console", document: dict[str, Any], top: int) -> None:
    from search.union import searched

    trials, front = document["trials"], document["front"]
    console.print(
        f"{document['enumerated']:,} enumerated, {document['feasible']:,} feasible, {trials['asked']:,} measured "
        f"({trials['stopped']} stopped early, {trials['failed']} failed), {len(front):,} on the front of what was "
        "measured."
    )
    miou = document["accuracy"]
    console.print(f"mIOU: {miou['protocol']}; noise of one run {miou['noise_sd']:.2f} points ({miou['noise_from']})")
    _print_conflict(console, miou.get("prior"))
    shown = front[:top]
    common, specs = apart([searched(document["query"]["space"], one["spec"]) for one in shown])
    if common:
        console.print(f"the same in all rows: {common}")
    rows = [
        (
            str(one["rank"]),
            spec,
            f"{one['miou']['mean']:.1f} ({one['miou']['low']:.1f}–{one['miou']['high']:.1f})",
            f"{one['predicted']['mean']:.1f}",
            si(one["params"], ""),
            *(f"{1e3 * cost['latency_s']['mean']:.1f} ms" for cost in one["devices"].values()),
        )
        for one, spec in zip(shown, specs, strict=True)
    ]
    names = [f"{name} latency" for name in front[0]["devices"]]
    console.print(
        table("front, best first", ("rank", "spec", "mIOU, %", "expected", "parameters", *names), rows, left=2)
    )
    equal = sum(not d["exceeds_noise"] for d in document["differences"])
    if document["differences"]:
        console.print(f"{equal} of {len(front) - 1} neighbours on the front differ by no more than noise (95 %)")
    console.print(f"chosen: {quoted(document['run'] + '#1')}; every trial: {document['run']}/trials.csv")
