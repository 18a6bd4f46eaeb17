"""The exact search against brute force: every candidate lowered, priced and compared one by one."""

import json
import math
import re
from dataclasses import replace
from functools import cache
from hashlib import sha256
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest

import search
from hw_models.device import load_device
from hw_models.predictors import predictor
from search.accuracy import accuracy_model
from search.certificate import NotVerified, valid_specs
from search.clocks import clocks_of, settings_of
from search.device_at import DeviceAt
from search.exact import NothingFeasible, answer, entry
from search.exact import search as exact
from search.model_ref import candidate
from search.pareto import levels, nondominated
from search.pricing import Evaluator
from search.query import Query, limits_from_si
from search.runs.folder import claimed, read_json
from search.runs.writer import query_from, write
from search.space import SearchSpace, digest, space_from
from search.structure import structure
from search.union import union_of
from search.verification import verify
from zoo.bulk.choices import Choices
from zoo.config import Limits
from zoo.errors import ConfigError, SpecError, ZooError
from zoo.registry import lower

pytestmark = pytest.mark.usefixtures("shared_tables")

SPACE = SearchSpace(
    Choices(
        "espnet",
        {
            "variant": ("A", "B", "C", "ESPNet"),
            "image_path": ("none", "reinforcement"),
            "k": (3, 5, 8),
            "alpha2": (1, 2),
            "alpha3": (0, 3),
            "widths": ((16, 64, 128), (8, 32, 64)),
            "decoder_sees_image": (False, True),
        },
    ),
    (256, 512),
)


def query(**changes):
    return replace(Query(space=SPACE, devices=(DeviceAt("tx2"),)), **changes)


@cache
def prices_of(at):
    return predictor(at.name, clock_mhz=at.clock_mhz)


def passed(at, graph, b):
    cost = prices_of(at).finish(prices_of(at).terms(graph.layers), confidence=0.5)
    mean, low = (float(getattr(cost, f"{b.metric}_{part}")) for part in ("mean", "low"))
    sd = math.log(mean / low) / NormalDist().inv_cdf(0.75)
    return 1 - NormalDist(math.log(mean), sd).cdf(math.log(b.bound))


def failures(q, graph, setting):
    """Probability that each metric on each device passes its tightest limit, from the interval that just reaches it."""
    out = {}
    for b in q.bounds():
        if b.device is None:
            chance = float(counts(graph)[b.metric] > b.bound)
        else:
            chance = passed(setting[b.device], graph, b)
            if b.metric == "latency_s":  # a slower clock makes nothing faster, whatever the intervals say
                chance = max(chance, passed(settings_of(q)[0][b.device], graph, b))
        out[b.metric, b.device] = max(out.get((b.metric, b.device), 0.0), chance)
    return out


def counts(graph):
    return {
        "params": graph.params,
        "weight_bytes": 4 * graph.params,
        "macs": graph.macs,
        "memory_bytes": 4 * graph.params + graph.peak_activation_bytes,
    }


def brute_force(q):
    """(spec, setting, objectives, within the limits) of every candidate, one by one."""
    out = []
    model = accuracy_model(q.accuracy, q.space.size)
    for _, spec in valid_specs(q.space):
        graph = lower(spec, q.space.size)
        for setting in settings_of(q):
            costs = [prices_of(at).finish(prices_of(at).terms(graph.layers), 0.9) for at in setting]
            values = {"miou": model.predict_spec(spec, q.confidence)[0]} | counts(graph)
            points = [
                sign * (values[m] if d is None else float(getattr(costs[d], f"{m}_mean"))) for m, d, sign in q.axes()
            ]
            within = sum(failures(q, graph, setting).values()) <= 1 - q.confidence
            out.append((spec, setting, points, within))
    return out


def unbeaten(points):
    """Which rows no other beats: nowhere worse and somewhere better, beyond rounding."""
    slack = 1e-9 * np.abs(points)
    no_worse = (points[:, None] <= points + slack).all(axis=2)
    better = (points[:, None] < points - slack).any(axis=2)
    return ~(no_worse & better).any(axis=0)


@pytest.fixture(scope="module")
def typical():
    """A value of each metric on the TX2 that a limit can be set at: some candidates pass, some do not."""
    q = query()
    columns = Evaluator(q)(np.concatenate(list(q.space.chunks())))
    found = {name: float(np.median(column)) for name, column in columns.counts.items()}
    return found | {name: 1.3 * float(np.median(parts["mean"])) for name, parts in columns.devices[0].items()}


SEVERAL = (
    Choices("espnet", {"variant": ("A", "C"), "k": (3, 5), "alpha2": (1, 2)}),
    Choices("espnet", {"variant": ("C", "ESPNet"), "k": (5, 8), "decoder_k": (2, 3)}),
    Choices("espnetv2", {"scale": (0.5, 1.0), "depth3": (0, 3), "depth4": (1, 7)}),
)

QUERIES = {
    "no limits": lambda v: {},
    "latency": lambda v: {"limits": Limits(max_latency_ms=1e3 * v["latency_s"])},
    "jointly": lambda v: {
        "limits": Limits(
            max_latency_ms=1.5e3 * v["latency_s"],
            max_params=int(2 * v["params"]),
            max_memory_mb=1.1e-6 * v["memory_bytes"],
            max_weight_mb=2e-6 * v["weight_bytes"],
        )
    },
    "two devices": lambda v: {
        "devices": (DeviceAt("tx2", 1134.0), DeviceAt("titanx")),
        "limits": Limits(min_fps=0.8 / v["latency_s"]),
    },
    "energy and macs": lambda v: {
        "objectives": ("miou", "energy", "macs"),
        "limits": Limits(max_energy_mj=1.5e3 * v["energy_j"], max_macs=int(1.5 * v["macs"])),
        "devices": (DeviceAt("tx2", 1300.0),),
    },
    "power": lambda v: {
        "objectives": ("miou", "power"),
        "confidence": 0.6,
        "limits": Limits(max_power_w=0.85 * v["power_w"]),
        "devices": (DeviceAt("tx2", 1300.0),),
    },
    "power at any clock": lambda v: {
        "space": SearchSpace(Choices("espnet", {"k": (3, 5), "alpha2": (1, 2), "alpha3": (0, 3, 5)}), (256, 512)),
        "limits": Limits(max_power_w=0.7 * v["power_w"]),
    },
    "several spaces": lambda v: {
        "space": union_of([replace(SPACE, choices=choices) for choices in SEVERAL]),
        "limits": Limits(max_latency_ms=2.5e3 * v["latency_s"]),
    },
    "all that is uncertain": lambda v: {
        "devices": (DeviceAt("tx2", 1134.0),),
        "limits": Limits(
            max_power_w=1.5 * v["power_w"], max_latency_ms=1.5e3 * v["latency_s"], max_energy_mj=1.8e3 * v["energy_j"]
        ),
    },
}


@pytest.mark.parametrize("changes", QUERIES.values(), ids=QUERIES)
def test_the_front_equals_brute_force(changes, typical):
    q = query(**changes(typical))
    everything = brute_force(q)
    inside = [(spec, setting, points) for spec, setting, points, within in everything if within]
    keep = unbeaten(np.array([points for _, _, points in inside]))
    front = {(spec, setting) for (spec, setting, _), kept in zip(inside, keep, strict=True) if kept}
    assert inside, "the limits of this case admit nothing: it tests nothing"
    assert len(inside) < len(everything) or not list(q.limits.given()), "the limits admit everything"
    result = exact(q)
    assert result.enumerated == len({spec for spec, *_ in everything})
    assert result.feasible == len({spec for spec, *_ in inside})
    networks = {(structure(lower(spec, q.space.size)), setting) for spec, setting in front}
    assert {
        (structure(lower(s, q.space.size)), c) for s, c in zip(result.specs, result.clocks, strict=True)
    } == networks
    assert len(result.specs) == len(networks)
    assert sum(result.aliases) == len(front)


def test_ranks_follow_the_first_objective():
    front = exact(query()).front
    scores = [entry["miou"]["mean"] for entry in front]
    assert scores == sorted(scores, reverse=True)
    assert [entry["rank"] for entry in front] == list(range(1, len(front) + 1))


def test_more_confidence_never_admits_more(typical):
    limits = Limits(max_latency_ms=1e3 * typical["latency_s"])
    feasible = [exact(query(confidence=c, limits=limits)).feasible for c in (0.5, 0.8, 0.95)]
    assert feasible == sorted(feasible, reverse=True)
    assert feasible[0] > feasible[-1]


def test_one_limit_holds_with_the_confidence():
    rows = np.concatenate(list(SPACE.chunks()))
    priced = Evaluator(query()).price(rows)
    held = priced.predictors[0].quantile(priced.terms[0], "latency_s", 0.9)
    middle = float(np.median(held))
    inside = Evaluator(query(limits=Limits(max_latency_ms=1e3 * middle))).price(rows).within
    assert (inside == (held <= middle * (1 + 1e-12))).all()


BASE = {"max_latency_ms": 22.0, "max_power_w": 4.0, "max_energy_mj": 50.0}
CANNOT_BIND = {"max_power_w": 15.0, "max_params": 10**9, "max_memory_mb": 1e6, "max_macs": 10**15, "min_fps": 1.0}


@pytest.mark.parametrize("name", CANNOT_BIND)
@pytest.mark.parametrize("clock", [None, 1300.0])
def test_a_limit_that_cannot_bind_changes_nothing(name, clock):
    devices = (DeviceAt("tx2", clock),)
    base = {"max_latency_ms": 20.0 if clock else 18.0}
    without = exact(query(devices=devices, limits=Limits(**base)))
    beside = exact(query(devices=devices, limits=Limits(**base, **{name: CANNOT_BIND[name]})))
    assert 0 < without.feasible == beside.feasible < without.enumerated
    assert without.specs == beside.specs
    assert without.clocks == beside.clocks


@pytest.mark.parametrize("name", BASE)
@pytest.mark.parametrize("clock", [None, 1300.0, 850.0])
def test_a_looser_limit_never_loses_a_candidate(name, clock):
    rows = np.concatenate(list(SPACE.chunks()))
    evaluator, best, inside = None, 0.0, np.zeros(0)
    for factor in (0.7, 1.0, 2.0):
        limits = Limits(**BASE | {name: factor * BASE[name]})
        q = query(devices=(DeviceAt("tx2", clock),), limits=limits)
        evaluator = evaluator or Evaluator(q)
        settings = settings_of(q)
        found = np.stack([evaluator.at(q.at(setting)).price(rows).within for setting in settings])
        assert (found >= inside).all() if len(inside) else True
        inside = found
        if found.any():
            highest = exact(q, evaluator=evaluator).front[0]["miou"]["mean"]
            assert highest >= best
            best = highest
    assert best and not inside.all(), "this case tests nothing"


def test_limits_hold_together_in_the_joint_distribution():
    q = query(
        limits=Limits(max_latency_ms=23.0, max_power_w=5.6, max_energy_mj=105.0), devices=(DeviceAt("tx2", 1300.0),)
    )
    priced = Evaluator(q).price(np.concatenate(list(SPACE.chunks())))
    rng, shape = np.random.default_rng(0), (20_000, 1)
    (time, time_sd), (power, power_sd) = (
        priced.predictors[0]._distributions(priced.terms[0])[m] for m in ("latency_s", "power_w")
    )
    drawn_time = time * np.exp(time_sd * rng.standard_normal((*shape[:1], len(time))))
    drawn_power = power * np.exp(power_sd * rng.standard_normal((*shape[:1], len(time))))
    kept = (drawn_time <= 0.023) & (drawn_power <= 5.6) & (drawn_time * drawn_power <= 0.105)
    inside = priced.within
    assert inside.any() and not inside.all()
    assert kept.mean(axis=0)[inside].min() >= q.confidence - 0.01


def printed(message):
    """The relaxations that a message prints, as limits."""
    options = dict(re.findall(r"--([a-z-]+) ([0-9.e+-]+)", message.split("relaxing one to ")[-1]))
    return {name.replace("-", "_"): float(value) for name, value in options.items()}


IMPOSSIBLE = {
    "latency": {"max_latency_ms": 1.0, "max_params": 10**9},
    "power at any clock": {"max_power_w": 0.3, "max_latency_ms": 60.0},
    "energy": {"max_energy_mj": 1.0, "max_power_w": 8.0},
    "frames": {"min_fps": 4000.0},
    "params": {"max_params": 1000, "max_latency_ms": 50.0},
    "macs and power": {"max_macs": 1000, "max_power_w": 5.0},
    "weights": {"max_weight_mb": 0.001},
    "mIOU": {"min_miou": 95.0, "max_latency_ms": 50.0},
}
DEVICES = {
    "open": (DeviceAt("tx2"),),
    "fixed": (DeviceAt("tx2", 850.0),),
    "joint": (DeviceAt("tx2", 1300.0), DeviceAt("titanx")),
}


@pytest.mark.parametrize("limits", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize("devices", DEVICES.values(), ids=DEVICES)
def test_the_printed_relaxation_typed_literally_is_feasible_and_the_smallest(limits, devices):
    if len(devices) > 1 and {"max_power_w", "max_energy_mj"} & set(limits):
        limits = {name: value * 60 if name == "max_power_w" else value for name, value in limits.items()}
    q = query(limits=Limits(**limits), devices=devices)
    with pytest.raises(NothingFeasible) as caught:
        exact(q)
    relaxations = printed(str(caught.value))
    assert relaxations
    for name, value in relaxations.items():
        below = name in ("min_fps", "min_miou")
        relaxed = replace(
            q, limits=Limits(**limits | {name: int(value) if name in ("max_params", "max_macs") else value})
        )
        assert exact(relaxed).feasible
        tighter = value * (1.002 if below else 0.998)
        with pytest.raises(NothingFeasible):
            exact(replace(q, limits=Limits(**limits | {name: tighter})))


def test_two_limits_that_must_both_give_are_both_named():
    with pytest.raises(NothingFeasible, match="at least two limits must give") as caught:
        exact(query(limits=Limits(max_latency_ms=1.0, max_params=1000)))
    assert caught.value.report["binding"] == ["max_latency_ms", "max_params"]
    together = caught.value.report["together"] | {"max_params": int(caught.value.report["together"]["max_params"])}
    assert exact(query(limits=Limits(**together))).feasible


def test_space_numbers_are_the_order_of_the_product_and_round_trip():
    specs = valid_specs(SPACE)
    rows = np.concatenate(list(SPACE.chunks()))
    assert rows.tolist() == [row for row, _ in specs]
    assert all(SPACE.spec(row) == spec and SPACE.row(spec) == row for row, spec in specs)


def test_a_spec_outside_the_space_has_no_number():
    with pytest.raises(SpecError, match="k"):
        SPACE.row(replace(SPACE.spec(valid_specs(SPACE)[0][0]), k=4))


def test_a_space_reads_back():
    assert space_from(SPACE.describe()) == SPACE
    assert space_from(json.loads(json.dumps(SPACE.describe()))).digest == SPACE.digest


def test_a_query_reads_back():
    q = query(limits=Limits(max_latency_ms=40.0, max_params=300_000), devices=(DeviceAt("tx2", 1134.0),))
    assert query_from(json.loads(json.dumps(q.describe()))) == q


def test_samples_are_valid_and_repeat_with_the_seed():
    rows = SPACE.sample(np.random.default_rng(1), 20)
    assert len(set(rows.tolist())) == 20
    assert SPACE.valid(rows).all()
    assert (rows == SPACE.sample(np.random.default_rng(1), 20)).all()


LIMITED = Limits(max_latency_ms=40.0, max_params=120_000)


@pytest.fixture
def run(tmp_path):
    q = query(limits=LIMITED)
    write(q, exact(q), tmp_path)
    return tmp_path


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_run_verifies(run, one_by_one):
    assert verify(run, one_by_one=one_by_one) == len(valid_specs(SPACE))


def rewritten(folder, document=None, certificate=None):
    """The folder with changed documents, hashed anew."""
    front = document or read_json(folder / "front.json")
    (folder / "front.json").write_text(json.dumps(front, indent=1) + "\n")
    held = certificate or read_json(folder / "certificate.json")
    held |= {"front": len(front["front"]), "front_sha256": digest(front["front"])}
    held["files"] = {name: sha256((folder / name).read_bytes()).hexdigest() for name in held["files"]}
    (folder / "certificate.json").write_text(json.dumps(held, indent=1) + "\n")


@pytest.mark.parametrize("drop", [0, -1])
def test_a_front_that_lacks_a_member_does_not_verify(run, drop):
    document = read_json(run / "front.json")
    del document["front"][drop]
    rewritten(run, document)
    with pytest.raises(NotVerified, match="missing from it"):
        verify(run)


def test_a_front_with_a_dominated_member_does_not_verify(run):
    document, q = read_json(run / "front.json"), query(limits=LIMITED)
    rows = np.concatenate(list(q.space.chunks()))
    columns = Evaluator(exact(q).query)(rows)
    members = {q.space.row(spec) for spec in exact(q).specs}
    beaten = next(i for i, row in enumerate(rows) if row not in members and columns.within[i])
    document["front"].append(entry(exact(q).query, columns, beaten, q.space.spec(int(rows[beaten]))))
    rewritten(run, document)
    with pytest.raises(NotVerified, match="is dominated"):
        verify(run)


def test_a_front_of_invented_values_does_not_verify_though_hashed_anew(run):
    document = read_json(run / "front.json")
    document["front"][0] |= {"miou": {"mean": 99.0, "low": 98.0, "high": 99.5}, "params": 17}
    rewritten(run, document)
    for one_by_one in (False, True):
        with pytest.raises(NotVerified, match=r"front\[0\]\.(miou|params)"):
            verify(run, one_by_one=one_by_one)


def test_a_certificate_of_other_tables_does_not_verify(run):
    certificate = read_json(run / "certificate.json")
    certificate["basis"]["devices_sha256"]["tx2@1300"] = "0" * 64
    rewritten(run, certificate=certificate)
    with pytest.raises(NotVerified, match=r"certificate\.json: basis\.devices_sha256"):
        verify(run)


def test_a_candidate_is_named_by_run_and_rank(run):
    front = read_json(run / "front.json")["front"]
    assert candidate(f"{run}#1") == exact(query(limits=LIMITED)).specs[0]
    for bad in (f"{run}#0", f"{run}#{len(front) + 1}", f"{run}#x", f"{run}#"):
        with pytest.raises(ConfigError, match="rank"):
            candidate(bad)
    with pytest.raises(ConfigError, match="not the folder of a finished search"):
        candidate(f"{run}/nowhere#1")


def test_a_folder_belongs_to_one_run_and_one_query(run):
    mine = query(limits=LIMITED)
    with claimed(run, mine), pytest.raises(ZooError, match="is held by a search"), claimed(run, mine):
        pass
    with pytest.raises(ZooError, match="another search"), claimed(run, query()):
        pass


def test_a_killed_search_leaves_no_certificate(tmp_path, monkeypatch):
    import search.runs.writer

    result = exact(query())

    def killed(entries):
        raise KeyboardInterrupt

    monkeypatch.setattr(search.runs.writer, "_csv", killed)
    with pytest.raises(KeyboardInterrupt):
        write(result.query, result, tmp_path)
    assert not (tmp_path / "certificate.json").exists()
    assert not list(tmp_path.glob(".*.part"))


def test_the_python_entry_point_reads_si_units():
    result = search.run(space="tiny", device="tx2", limits={"params": 300_000, "fps": 2.0})
    assert result.query.devices == (DeviceAt("tx2", 1300.0),)
    assert result.query.limits == Limits(max_params=300_000, min_fps=2.0)
    assert all(entry["params"] <= 300_000 for entry in result.front)
    with pytest.raises(ConfigError, match="did you mean 'latency_s'"):
        limits_from_si({"latency": 1.0})


@pytest.mark.parametrize("wrong", [{"confidence": 1.0}, {"objectives": ("mIOU",)}, {"objectives": ()}, {"devices": ()}])
def test_a_query_that_means_nothing_is_refused(wrong):
    with pytest.raises(ConfigError):
        query(**wrong)


def test_an_open_clock_is_never_worse_than_any_fixed_one():
    for limits in ({"max_power_w": 1.6}, {"max_power_w": 4.5, "max_latency_ms": 30.0}):
        best, clocks = {}, clocks_of(load_device("tx2"))
        for clock in clocks:
            try:
                found = exact(query(limits=Limits(**limits), devices=(DeviceAt("tx2", clock),)))
            except NothingFeasible:
                continue
            best[clock] = found.front[0]["miou"]["mean"]
        found = exact(query(limits=Limits(**limits)))
        assert found.front[0]["miou"]["mean"] == max(best.values())
        assert found.clocks[0][0].clock_mhz == max(c for c, miou in best.items() if miou == max(best.values()))
        assert found.front[0]["at"] == [str(found.clocks[0][0])]


def test_the_clocks_of_a_device_are_its_modes_and_steps_between():
    clocks = clocks_of(load_device("tx2"))
    assert {828.0, 850.0, 1120.0, 1300.0} <= set(clocks)
    assert all(1 < fast / slow <= 1.101 for fast, slow in pairwise(clocks))


def test_equal_graphs_are_one_candidate_with_its_aliases():
    values = {"variant": ("C",), "k": (4, 5), "alpha2": (1,), "alpha3": (3,), "decoder_k": (2, 3, 4)}
    q = query(space=SearchSpace(Choices("espnet", values), (256, 512)))
    found = exact(q)
    assert found.enumerated == found.feasible == 6
    assert len(found.specs) == 2
    assert found.aliases == (3, 3)


def test_differences_within_rounding_keep_nothing_on_a_front():
    points = np.array([[1.0, 2.0], [1.0 + 1e-13, 2.0], [1.0 - 1e-13, 2.5], [0.5, 3.0]])
    assert nondominated(levels(points)).tolist() == [True, True, False, True]


def test_without_miou_a_family_that_no_model_knows_can_be_searched():
    q = query(space=SearchSpace(Choices("enet", {"classes": (19, 20)}), (256, 512)), objectives=("latency", "size"))
    found = exact(q)
    assert found.front[0]["miou"] is None
    with pytest.raises(ZooError):
        exact(replace(q, objectives=("miou", "latency")))


def test_min_miou_holds_with_the_confidence():
    q = query(limits=Limits(min_miou=45.0))
    found = exact(q)
    model = accuracy_model(q.accuracy, q.space.size)
    own = [model.predict_spec(spec, 0.8)[1] >= 45.0 for _, spec in valid_specs(SPACE)]  # the lower end holds with 0.9
    assert 0 < found.feasible == sum(own) < found.enumerated


def test_a_clock_asked_for_is_kept():
    with pytest.raises(NothingFeasible):
        answer(query(limits=Limits(max_power_w=0.2), devices=(DeviceAt("tx2", 1300.0),)))
    with pytest.raises(NothingFeasible, match="binds"):
        answer(query(limits=Limits(max_power_w=0.01)))


def test_a_limit_must_be_positive():
    with pytest.raises(ConfigError, match="max_latency_ms"):
        Limits(max_latency_ms=-1.0)
