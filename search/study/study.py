"""Runs a study: proposes candidates within the limits, measures them, records results, until the budget is spent.

Stages: `search` (short protocol, by the sampler, with successive halving), then `follow-up`, where the best train
by the long protocol, and the members of the front again with other seeds. Everything is told to a storage
before anything rests on it; the same command continues a study that was interrupted at any moment.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.query import Query
from search.runs.folder import read_json
from search.runs.writer import query_from
from search.study.config import STUDY_FILE, StudyConfig, config_from
from search.study.course import Course, MakeEngine, Say, local, run
from search.study.feasible import FeasibleSet, Progress
from search.study.measured_latency import check_measurable, keeps_limits
from search.study.open_study import OpenStudy, StudyState
from search.study.progress import Watch
from search.study.storage import JOURNAL
from search.study.trials import Trial, difference
from search.study.trust import remember
from zoo import claims
from zoo.errors import ConfigError, NegativeAnswer, ZooError
from zoo.files import atomic
from zoo.reading import exists
from zoo.text import quoted, shown


def start(
    query: Query,
    config: StudyConfig,
    folder: Path,
    *,
    engine: MakeEngine = local,
    say: Say = lambda text: None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    resume: bool = False,
) -> StudyState:
    """Run a study to its end, or go on with one. Whatever stops it, every trial that was told is kept.

    Args:
        query: candidates, limits and objectives; one of these is mIOU.
        config: evaluator, sampler, number of trials, budget, seed.
        folder: where the study is kept.
        engine: makes what evaluates trials, by default processes on this machine.
        say: is told every event.
        progress: is told how far the candidates are enumerated.
        watch: is shown how the study stands, about once a second.
        resume: go on with the study in `folder`.

    Returns:
        The study with its trials; `search.study.results` makes a front of them.

    Raises:
        NothingFeasible: no candidate is within the limits; with a report.
        ZooError: the folder holds another study, nothing can be measured, or every trial failed.

    >>> from search.device_at import DeviceAt
    >>> from search.space import SearchSpace
    >>> from zoo.bulk.choices import Choices
    >>> space = SearchSpace(Choices("espnet", {"variant": ("C",), "alpha3": (3, 5, 8)}), (512, 1024))
    >>> query = Query(space=space, devices=(DeviceAt("tx2"),))
    >>> study = start(query, StudyConfig(accuracy="published", trials=2), Path("study"))
    >>> [trial.state for trial in study.searched]
    ['complete', 'complete']
    """
    if not resume and exists(folder / STUDY_FILE):
        raise ZooError(
            f"{folder}: holds a study already; go on with it by --resume {quoted(folder)}, or choose another with -o"
        )
    study = OpenStudy(query, config, folder, progress=progress)
    study.short.check()
    if config.measure_latency:
        check_measurable(study.feasible.query)
    if resume:
        _same_study(folder, study.asked())
        _check_journal(folder, config)
        claims.refuse_other_kinds(folder, claims.STUDY)
        _keep_plan(study)
    else:
        with claims.claimed(folder, claims.STUDY):
            _keep_plan(study)
    remember(folder, config)
    say(f"{len(study.feasible):,} of {study.feasible.enumerated:,} candidates are within the limits")
    say(f"sampler {study.sampler_name}: {study.why}")
    with study.opened() as (search, follow):
        run(Course(study, search, follow, say, watch), engine)
        searched, followed = search.all(), follow.all()
    _check_any(searched, config, folder)
    _check_within(study.feasible, searched, folder)
    return _studied(study, searched, followed)


def _keep_plan(study: OpenStudy) -> None:
    with atomic(study.folder / STUDY_FILE) as partial:
        query = study.feasible.query.describe()
        document = {"query": query, "plan": study.config.document(), "asked": study.asked()}
        partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _check_journal(folder: Path, config: StudyConfig) -> None:
    """Raise ConfigError where there are results without their journal: all would begin anew over them."""
    if config.storage is not None or exists(folder / JOURNAL):
        return
    results = [name for name in ("trials.csv", "front.json", "trained") if exists(folder / name)]
    if results:
        raise ConfigError(
            f"{shown(folder)}: its journal {JOURNAL} is missing, and {results[0]} is there; put the journal back, "
            "or start another study with -o, so that nothing is measured over these results"
        )


def so_far(query: Query, config: StudyConfig, folder: Path) -> StudyState:
    """What a study has come to that was interrupted, or that another process goes on with; nothing is evaluated.

    Raises ZooError where nothing was told yet, or the study is another.
    """
    _check_journal(folder, config)
    study = OpenStudy(query, config, folder)
    with study.opened() as (search, follow):
        searched, followed = search.all(), follow.all()
    if all(e.miou is None for e in searched):
        raise ZooError(f"{folder}: no trial of the study in it has ended yet; go on with --resume {folder}")
    _check_within(study.feasible, searched, folder)
    return _studied(study, searched, followed)


def _studied(study: OpenStudy, searched: list[Trial], followed: list[Trial]) -> StudyState:
    evaluators = (study.short, study.long)
    return StudyState(
        study.feasible, study.config, study.sampler_name, study.why, searched, followed, study.prior, evaluators
    )


def _same_study(folder: Path, identity: Mapping[str, Any]) -> None:
    saved = read_json(folder / STUDY_FILE).get("asked")
    if saved != identity:
        raise ConfigError(
            f"{folder}: the study in it was made for another search: {difference(saved, identity)}; go on with its own "
            "options and files, or start another with -o"
        )


def _check_any(searched: list[Trial], config: StudyConfig, folder: Path) -> None:
    if any(e.miou is not None for e in searched):
        return
    failed = [e for e in searched if e.state == "failed"]
    if failed:
        raise ZooError(
            f"{folder}: all {len(failed)} trials failed, the last with: {failed[-1].error}; see {folder}/logs, put it "
            "right, and start another study with -o"
        )
    raise ZooError(
        f"a budget of {config.budget_s:g} s is too small for one trial; give more --budget, and go on with "
        f"--resume {folder}, or fewer --epochs"
    )


def _check_within(feasible: FeasibleSet, searched: list[Trial], folder: Path) -> None:
    """Raise NegativeAnswer where this machine runs every measured network too slowly for the limits."""
    complete = [trial for trial in searched if trial.state == "complete"]
    if not complete or any(keeps_limits(feasible, trial.index, trial.latency) for trial in complete):
        return
    fastest = min((trial.latency.high for trial in complete if trial.latency is not None), default=0.0)
    raise NegativeAnswer(
        f"none of the {len(complete)} measured networks is within the limits as this machine runs it, the fastest in "
        f"up to {1e3 * fastest:.4g} ms; search again with a larger --max-latency-ms, or go on with more --trials and "
        f"--resume {quoted(folder)}"
    )


def resumed(folder: Path) -> tuple[Query, StudyConfig]:
    """Query and plan of the study in a folder. Raises ConfigError where there is none."""
    if not exists(folder / STUDY_FILE):
        raise ConfigError(
            f"{shown(folder)}: holds no study to resume ({STUDY_FILE} is missing); an exact search is simply run again"
        )
    document = read_json(folder / STUDY_FILE)
    return query_from(document.get("query", {})), config_from(document.get("plan", {}))
