"""The exact search against brute force: every candidate lowered, priced and compared one by one."""

import json
from dataclasses import replace

import numpy as np
import pytest

import search
from hw_models import predict
from search.accuracy import accuracy_model
from search.certificate import NotVerified, valid_specs, verify
from search.exact import NothingFeasible, answer, at_clocks
from search.exact import search as exact
from search.model_ref import candidate
from search.pricing import Evaluator
from search.query import DeviceAt, Query, limits_from_si
from search.runs.writer import claimed, query_from, read_json, write
from search.space import SearchSpace, space_from
from zoo.bulk.choices import Choices
from zoo.config import Limits
from zoo.errors import ConfigError, SpecError, ZooError
from zoo.registry import lower

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


def brute_force(q):
    """(spec, objectives, within the limits) of every candidate, by the one-by-one path."""
    out = []
    model = accuracy_model(q.accuracy)
    for _, spec in valid_specs(q.space):
        graph = lower(spec, q.space.size)
        costs = [
            predict(graph, device=d.name, clock_mhz=d.clock_mhz, confidence=2 * q.probability_each - 1)
            for d in q.devices
        ]
        values = {
            "miou": model.predict_spec(spec, q.confidence)[0],
            "params": graph.params,
            "weight_bytes": 4 * graph.params,
            "macs": graph.macs,
            "memory_bytes": 4 * graph.params + graph.peak_activation_bytes,
        }
        points = [sign * (values[m] if d is None else getattr(costs[d], m).mean) for m, d, sign in q.axes()]
        # The upper end of a two-sided interval of confidence 2p - 1 is the quantile at p.
        within = all(
            (values[b.metric] if b.device is None else getattr(costs[b.device], b.metric).high) <= b.bound
            for b in q.bounds()
        )
        out.append((spec, points, within))
    return out


@pytest.fixture(scope="module")
def typical():
    """A value of each metric on the TX2 that a limit can be set at: some candidates pass, some do not."""
    q = query()
    columns = Evaluator(q)(np.concatenate(list(q.space.chunks())))
    found = {name: float(np.median(column)) for name, column in columns.counts.items()}
    return found | {name: 1.3 * float(np.median(parts["mean"])) for name, parts in columns.devices[0].items()}


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
    },
    "power": lambda v: {
        "objectives": ("miou", "power"),
        "confidence": 0.6,
        "limits": Limits(max_power_w=0.85 * v["power_w"]),
    },
}


@pytest.mark.parametrize("changes", QUERIES.values(), ids=QUERIES)
def test_the_front_equals_brute_force(changes, typical):
    q = query(**changes(typical))
    everything = brute_force(q)
    inside = [(spec, np.array(points)) for spec, points, within in everything if within]
    front = {spec for spec, p in inside if not any((o <= p).all() and (o < p).any() for _, o in inside)}
    assert inside, "the limits of this case admit nothing: it tests nothing"
    assert len(inside) < len(everything) or not list(q.limits.given()), "the limits admit everything"
    result = exact(q)
    assert result.enumerated == len(everything)
    assert result.feasible == len(inside)
    assert set(result.specs) == front
    assert len(result.specs) == len(front)


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


def test_limits_hold_together():
    one = query(limits=Limits(max_latency_ms=40.0))
    two = query(limits=Limits(max_latency_ms=40.0, max_power_w=9.0))
    assert one.probability_each == pytest.approx(0.9)
    assert two.probability_each == pytest.approx(0.95)
    assert query(limits=Limits(max_params=10**6)).probability_each == pytest.approx(0.9)


def test_nothing_feasible_says_what_would_help():
    with pytest.raises(NothingFeasible) as caught:
        exact(query(limits=Limits(max_latency_ms=1.0, max_params=10**9)))
    report = caught.value.report
    assert report["binding"] == ["max_latency_ms"]
    helps = report["limits"][0]["smallest_that_helps"]
    assert exact(query(limits=Limits(max_latency_ms=helps * 1.000001, max_params=10**9))).feasible >= 1
    with pytest.raises(NothingFeasible):
        exact(query(limits=Limits(max_latency_ms=helps * 0.999999, max_params=10**9)))
    assert f"{helps:.6g}" in str(caught.value)


def test_two_limits_that_must_both_give_are_both_named():
    with pytest.raises(NothingFeasible, match="at least two limits must give") as caught:
        exact(query(limits=Limits(max_latency_ms=1.0, max_params=1000)))
    assert caught.value.report["binding"] == ["max_latency_ms", "max_params"]


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


def check(folder, **options):
    certificate = read_json(folder / "certificate.json")
    return verify(certificate, read_json(folder / "front.json"), query_from(certificate["query"]), **options)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_run_verifies(run, one_by_one):
    assert check(run, one_by_one=one_by_one) == len(valid_specs(SPACE))


def test_an_edited_front_does_not_verify(run):
    path = run / "front.json"
    path.write_text(path.read_text().replace('"alpha3": 3', '"alpha3": 0', 1))
    with pytest.raises(NotVerified, match="changed after the search"):
        check(run)


@pytest.mark.parametrize("drop", [0, -1])
def test_a_front_that_lacks_a_member_does_not_verify(run, drop):
    from search.space import digest

    document, certificate = read_json(run / "front.json"), read_json(run / "certificate.json")
    del document["front"][drop]
    certificate |= {"front": len(document["front"]), "front_sha256": digest(document["front"])}
    with pytest.raises(NotVerified, match="missing from it"):
        verify(certificate, document, query_from(certificate["query"]))


def test_a_front_with_a_dominated_member_does_not_verify(run):
    from search.runs.writer import entry
    from search.space import digest

    document, certificate = read_json(run / "front.json"), read_json(run / "certificate.json")
    q = query_from(certificate["query"])
    rows = np.concatenate(list(q.space.chunks()))
    columns = Evaluator(q)(rows)
    limits = np.array([b.bound for b in q.bounds()])
    members = {q.space.row(spec) for spec in exact(q).specs}
    beaten = next(i for i, row in enumerate(rows) if row not in members and (columns.bounds[i] <= limits).all())
    document["front"].append(entry(q, columns, beaten, q.space.spec(int(rows[beaten]))))
    certificate |= {"front": len(document["front"]), "front_sha256": digest(document["front"])}
    with pytest.raises(NotVerified, match="is dominated"):
        verify(certificate, document, q)


def test_a_certificate_of_other_tables_does_not_verify(run):
    certificate = read_json(run / "certificate.json")
    certificate["basis"]["devices_sha256"]["tx2"] = "0" * 64
    with pytest.raises(NotVerified, match="no longer what the search rested on"):
        verify(certificate, read_json(run / "front.json"), query_from(certificate["query"]))


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


def test_an_open_clock_is_the_fastest_that_admits_anything():
    slow = query(devices=(DeviceAt("tx2", 850.0),))
    power = Evaluator(slow)(np.concatenate(list(SPACE.chunks()))).devices[0]["power_w"]["high"].min() * 1.05
    limits = Limits(max_power_w=float(power))
    open_clock = query(limits=limits)
    found = answer(open_clock)
    clocks = [q.devices[0].clock_mhz for q in at_clocks(open_clock)]
    assert clocks == sorted(clocks, reverse=True)
    used = found.query.devices[0].clock_mhz
    assert used < clocks[0]
    assert found.feasible == exact(found.query).feasible > 0
    for faster in clocks[: clocks.index(used)]:
        with pytest.raises(NothingFeasible):
            exact(query(limits=limits, devices=(DeviceAt("tx2", faster),)))


def test_a_clock_asked_for_is_kept():
    with pytest.raises(NothingFeasible):
        answer(query(limits=Limits(max_power_w=0.2), devices=(DeviceAt("tx2", 1300.0),)))
    with pytest.raises(NothingFeasible, match="binds"):
        answer(query(limits=Limits(max_power_w=0.01)))


def test_a_limit_must_be_positive():
    with pytest.raises(ConfigError, match="max_latency_ms"):
        Limits(max_latency_ms=-1.0)
