"""The part of `zoo search` that measures candidates: `--accuracy train`, `--trials`, `--resume`."""

import argparse
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from zoo.config_study import option_name, options, seconds, setting
from zoo.errors import ZooError
from zoo.reading import exists
from zoo.text import quoted

if TYPE_CHECKING:
    from rich.console import Console

    from search.query import Query
    from search.study.config import StudyConfig
    from search.study.course import MakeEngine

STARTS = ("sampler", "trials", "resume", "dataset", "storage", "budget", "measure_latency", "engine", "address")
"""Options that only a study has; any of them, or --accuracy train, makes one."""


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
    """Collects KEY=VALUE."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        try:
            setattr(namespace, self.dest, (getattr(namespace, self.dest) or {}) | setting(values))
        except ValueError as error:
            parser.error(f"{option_string} {error}")


ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "text": {},
    "count": {"type": count_argument, "metavar": "N"},
    "whole": {"type": _whole, "metavar": "N"},
    "duration": {"type": duration_argument},
    "size": {"type": size_argument, "metavar": "WxH"},
    "flag": {"action": argparse.BooleanOptionalAction},
    "settings": {"action": _Settings, "metavar": "KEY=VALUE"},
}
"""How argparse reads each kind of option."""


def configure_study(parser: argparse.ArgumentParser) -> None:
    """Options of a study, of each None where it isn't given."""
    group = parser.add_argument_group("a study: candidates are measured, one trial after the other")
    training = parser.add_argument_group("--accuracy train")
    for own, option in options():
        about = dict(ARGUMENTS[option.kind]) | ({"metavar": option.metavar} if option.metavar else {})
        add = (training if option.training else group).add_argument
        add("--" + option_name(own).replace("_", "-"), default=None, help=option.help, **about)
    add = group.add_argument
    add("--resume", metavar="RUN", help="go on with the study in this folder, also beside a process that does")
    add("--engine", choices=("local", "ray"), help="local (default): one trial at a time; ray: on every worker")
    add("--address", metavar="A", help="a running Ray cluster: auto, or HOST:PORT (default: one of its own)")
    add("--gpus-per-trial", type=positive_argument, metavar="X", help="GPUs that Ray gives each trial (default 0)")


def named_study(args: Arguments) -> dict[str, Any] | None:
    """Values of a study that the named search of zoo.yaml gives it; None where it is no study."""
    preset = config_of(args).search(args.name)
    if args.resume is not None or (preset.study is None and preset.accuracy != "train"):
        return None
    values: dict[str, Any] = preset.study.given() if preset.study else {}
    return values | ({"accuracy": "train"} if preset.accuracy == "train" else {})


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
    from search.study.results import write_results
    from search.study.study import start

    query, config, folder = _resumed(args) if args.resume is not None else _configured(args, query_of(args))
    if args.resume is None:
        check_run_folder(args, folder)
    try:
        with ExitStack() as bar, watching(bar.close) as watched:
            finished = start(
                query,
                config,
                folder,
                engine=_engine(args),
                say=watched.say,
                watch=watched.watch,
                progress=bar.enter_context(progress_of("enumerating")),
                resume=args.resume is not None,
            )
    except NothingFeasible as infeasible:
        if args.json:
            print(json.dumps({"run": str(folder)} | infeasible.report, allow_nan=False, indent=2))
        raise
    except KeyboardInterrupt:
        _write_so_far(query, config, folder)
        raise
    document = {"run": str(folder)} | write_results(finished, folder)
    if not args.no_plots:
        draw(folder)
    emit(args, document, lambda console: _print(console, document, args.top or 10))
    return 0


def _write_so_far(query: "Query", config: "StudyConfig", folder: Path) -> None:
    """Of a study that was interrupted, the front of what was told."""
    from search.study.results import write_results
    from search.study.study import so_far

    with suppress(ZooError):
        write_results(so_far(query, config, folder), folder)
        note(f"zoo: what was measured so far is in {folder}/front.csv; go on with zoo search --resume {quoted(folder)}")


def refresh(folder: Path) -> None:
    """Bring the front of a study that has not ended up to date, where its storage is at hand; else leave it."""
    from search.study.results import write_results
    from search.study.study import resumed, so_far
    from search.study.trust import is_trusted

    if exists(folder / "study.json") and not exists(folder / "front.json"):
        query, config = resumed(folder)
        if not is_trusted(folder, config):
            raise ZooError(
                f"{folder}: the study was not begun here, and its trials are not in its folder; go on with "
                f"zoo search --resume {quoted(folder)} and --storage or --data"
            )
        write_results(so_far(query, config, folder), folder)


def _given(args: Arguments) -> dict[str, Any]:
    """Values of `StudyConfig` that the command line gives."""
    values_given = {own.name: getattr(args, option_name(own)) for own, _ in options()}
    return {name: value for name, value in ({"accuracy": args.accuracy} | values_given).items() if value is not None}


def _configured(args: Arguments, query: "Query") -> "tuple[Query, StudyConfig, Path]":
    from search.accuracy.published_scores import evidence
    from search.space import digest
    from search.study.config import StudyConfig

    config = StudyConfig(**((named_study(args) or {}) | _given(args)))
    if config.accuracy == "published":
        for family in query.families:
            evidence(family)  # raises where there is none, before anything is enumerated
    name = digest(query.describe() | config.document())[:10]
    return query, config, Path(args.folder) if args.folder else Path("runs") / f"study-{name}"


def _resumed(args: Arguments) -> "tuple[Query, StudyConfig, Path]":
    from search.study.study import resumed

    fixed = [option_name(own) for own, option in options() if not option.changeable]
    fixed = [name for name in ("accuracy", *fixed) if getattr(args, name) is not None]
    fixed += [name for name in ("device", "space", "objective", "size", "confidence", "folder") if getattr(args, name)]
    if fixed:
        names = ", ".join("-o" if name == "folder" else "--" + name.replace("_", "-") for name in fixed)
        raise usage(f"--resume goes on with the study as it was begun, so that {names} cannot be given with it")
    folder = Path(args.resume)
    query, config = resumed(folder)
    _refuse_strange(folder, config, args)
    if config.storage and "***" in config.storage and not args.storage:
        raise usage(
            f"{folder}: its storage {config.storage} has a password, which is not kept; give the URL with --storage"
        )
    return query, replace(config, **_given(args)), folder


def _refuse_strange(folder: Path, config: "StudyConfig", args: Arguments) -> None:
    """Raise UsageError where the folder names a database or data that the user did not give on this machine."""
    from search.study.trust import is_trusted

    unconfirmed = [
        name for name in ("storage", "data") if getattr(config, name) is not None and not getattr(args, name)
    ]
    if unconfirmed and not is_trusted(folder, config):
        names = " and ".join(f"--{name}" for name in unconfirmed)
        raise usage(
            f"{folder}: the study was not begun here, so that the {' and '.join(unconfirmed)} that its folder names "
            f"{'are' if len(unconfirmed) > 1 else 'is'} not used unasked; give {names}"
        )


def _engine(args: Arguments) -> "MakeEngine":
    from search.study.course import local

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
            f"the trials contradict the published figures: they are {_times(prior['times_as_probable'])} as probable "
            f"where those count for {prior['weight']:.0%}, as they do here"
        )


def _times(factor: float) -> str:
    return f"{factor:.3g} times" if factor < 1e6 else "more than a million times"


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
    if any("latency_source" in cost for row in (*front, *document["tried"]) for cost in row["devices"].values()):
        outside = trials.get("outside", 0)
        console.print(
            f"latency: measured on this machine; {outside} of the networks measured are outside the limits here"
        )
    _print_conflict(console, miou.get("prior"))
    best_rows = front[:top]
    common, specs = apart([searched(document["query"]["space"], member["spec"]) for member in best_rows])
    if common:
        console.print(f"the same in all rows: {common}")
    rows = [
        (
            str(member["rank"]),
            spec,
            f"{member['miou']['mean']:.1f} ({member['miou']['low']:.1f}–{member['miou']['high']:.1f})",
            f"{member['predicted']['mean']:.1f}",
            si(member["params"], ""),
            *(f"{1e3 * cost['latency_s']['mean']:.1f} ms" for cost in member["devices"].values()),
        )
        for member, spec in zip(best_rows, specs, strict=True)
    ]
    names = [f"{name} latency" for name in front[0]["devices"]]
    console.print(
        table("front, best first", ("rank", "spec", "mIOU, %", "expected", "parameters", *names), rows, left=2)
    )
    equal = sum(not d["exceeds_noise"] for d in document["differences"])
    if document["differences"]:
        console.print(f"{equal} of {len(front) - 1} neighbours on the front differ by no more than noise (95 %)")
    console.print(f"chosen: {quoted(document['run'] + '#1')}; every trial: {document['run']}/trials.csv")
