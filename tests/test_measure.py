"""One's own device: statistics on fake clocks, blocks, the block model, journals, and small real runs."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from hw_models import device_writer as own_folder
from hw_models import measurements, recalibrate
from hw_models.device import SHIPPED, DeviceError, home, load_device
from hw_models.device_writer import add_device
from hw_models.measure import environment, new_device, plan, runtimes, timing
from hw_models.measure import power_meters as energy
from hw_models.measure import run as measure
from hw_models.measure.environment import conditions, refuse_mixture
from hw_models.measure.journal import Journal, Visits, difference, journal_path
from hw_models.measure.runtimes import Settings
from hw_models.measured import network_speed as shares
from hw_models.measured import predictor as own_device
from hw_models.measured.block_features import features
from hw_models.measured.block_model import BlockModel, Measured
from hw_models.measured.blocks import KINDS, BlockError, blocks, chained, distinct, from_text
from hw_models.predictors import predict, predictor
from hw_models.schema import SHARES, Fit
from hw_models.tables import TableError
from zoo.bulk.choices import Choices
from zoo.bulk.lower import BulkLowering
from zoo.cli import main
from zoo.config import load_config
from zoo.errors import NegativeAnswer, ZooError
from zoo.graph import Dropout, Input, Shape
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.registry import lower

SIZES = ((32, 64), (64, 128))


# --- timing -----------------------------------------------------------------------------------------


def replay(values):
    """A sample that gives these values, then the last one for ever."""
    values = list(values)
    return lambda: values.pop(0) if len(values) > 1 else values[0]


def test_a_quiet_machine_is_timed_exactly():
    found = timing.time_of(replay([0.01]))
    assert (found.median_s, found.low_s, found.high_s, found.spread, found.settled) == (0.01, 0.01, 0.01, 0.0, True)


def test_the_quietest_burst_counts_and_the_warm_up_does_not():
    burst = timing.BURST
    slow, fast = [0.030] * burst, [0.010] * burst
    found = timing.time_of(replay([9.0, 9.0, *slow, *fast, *slow, *slow, *fast, 0.5]))
    assert found.median_s == 0.010
    assert found.settled
    assert found.n == 5 * burst
    assert found.spread == pytest.approx(2.0)  # the median burst took three times as long


def test_the_effort_is_bounded():
    values = iter(0.01 * 1.1**-i for i in range(10_000))  # ever faster: no two bursts agree
    found = timing.time_of(lambda: next(values), timing.Effort(limit_s=0.2, bursts=7))
    assert not found.settled
    assert found.n <= 7 * 200


def test_the_interval_holds_the_median_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        low, high = timing.interval_of_median(sorted(rng.exponential(size=25)))
        held += low <= math.log(2) <= high
    assert 0.86 <= held / 400 <= 0.98


def test_too_noisy_is_a_legitimate_no_with_the_spread():
    timing.refuse_noise("x", 0.2, 0.25)
    with pytest.raises(NegativeAnswer, match=r"x: the machine is too noisy to measure, runs are 40% apart"):
        timing.refuse_noise("x", 0.4, 0.25)


# --- blocks -----------------------------------------------------------------------------------------

NETWORKS = {
    "C": lower(ESPNetSpec(), (64, 128)),
    "ESPNet": lower(ESPNetSpec(variant="ESPNet", k=4, activation="relu"), (64, 128)),
    "A, no units": lower(ESPNetSpec(variant="A", image_path="none", alpha2=0, alpha3=0), (64, 128)),
    "v2": lower(ESPNetv2Spec(scale=0.5), (64, 128)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_are_the_network_in_its_order(name):
    layers = [x for x in NETWORKS[name].layers if not isinstance(x.op, Input | Dropout)]
    found = [x for _, block in blocks(NETWORKS[name].layers) for x in block.body]
    assert [x.op for x in found] == [x.op for x in layers]
    assert [x.in_shapes for x in found] == [x.in_shapes for x in layers]
    names = [first for first, _ in blocks(NETWORKS[name].layers)]
    assert names[0] == layers[0].name
    assert set(names) <= {x.name for x in layers}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_block_survives_its_text(name):
    for block in distinct([NETWORKS[name].layers]):
        again = from_text(block.text)
        assert again == block
        assert hash(again) == hash(block)
        assert again.outputs == block.outputs


def test_an_esp_unit_is_one_block_and_equal_units_are_equal():
    found = distinct([NETWORKS["C"].layers])
    units = {block: n for block, n in found.items() if block.kind == "unit"}
    assert sorted(units.values()) == [1, 1, 2, 8]  # two strided, alpha2, alpha3
    assert all(len([x for x in block.body if x.kind == "Conv"]) == 6 for block in units)


def test_pieces_of_a_space_have_the_blocks_of_the_whole_network():
    choices = Choices("espnet", {"variant": ("A", "C", "ESPNet"), "k": (2, 5), "alpha3": (0, 3), "alpha2": (0, 1)})
    rows = np.arange(choices.size)
    valid = [i for i in rows if _spec(choices, int(i)) is not None]
    bulk = BulkLowering(choices, Shape(3, 64, 128)).lower(choices.codes(np.array(valid)))
    for column, row in enumerate(valid):
        whole = [block for _, block in blocks(lower(_spec(choices, row), (64, 128)).layers)]
        parts = []
        for step in bulk.steps:
            if step.index[column] >= 0:
                found = [block for _, block in blocks(step.pieces[step.index[column]].layers)]
                parts += found * int(step.count[column])
        assert parts == whole


def _spec(choices, row):
    codes = {name: int(column[0]) for name, column in choices.codes(np.array([row])).items()}
    try:
        return ESPNetSpec(**choices.spec_values(codes))
    except ZooError:
        return None


def test_units_that_keep_their_shape_are_chained():
    for block in distinct([NETWORKS["C"].layers]):
        chain = chained(block)
        keeps = block.kind == "unit" and block.inputs[0].out_shape == block.body[-1].out_shape
        assert block.copies == (3 if keeps else 1)
        assert len(chain.body) == block.copies * len(block.body)
        assert chain.macs == block.copies * block.macs
        assert len(chain.outputs) == len(block.outputs) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not the JSON of a block"),
        ('{"inputs":["3x4"],"layers":[]}', "is not the JSON of a block"),
        ('{"inputs":["3x4x4"],"layers":[["Convv",{},"x0"]]}', "did you mean 'Conv'"),
        ('{"inputs":["3x4x4"],"layers":[["ReLU",{"slope":1},"x0"]]}', "block op ReLU"),
        ('{"inputs":["3x4x4"],"layers":[["ReLU",{},"x1"]]}', "comes from nowhere"),
        ('{"inputs":["3x4x4"],"layers":[["Conv",{"out_channels":4,"kernel":[9,9]},"x0"]]}', "does not fit"),
    ],
)
def test_a_block_that_cannot_be_is_refused(text, message):
    with pytest.raises(BlockError, match=message):
        from_text(text)


# --- the block model on a machine whose times are known ------------------------------------------------

CALL_S = 2e-5


def true_seconds(block):
    """A machine: MACs at 10 G/s, moved values at 2 G/s, 3 µs a layer."""
    moved = sum(shape.elements for x in block.body for shape in (*x.in_shapes, x.out_shape))
    return block.macs / 1e10 + moved / 2e9 + 3e-6 * len(block.body)


def as_measured(block, noise=1.0):
    seconds = (true_seconds(block) + CALL_S / block.copies) * noise
    return Measured(block, 1, seconds, 0.99 * seconds, 1.01 * seconds)


def space():
    return Choices(
        "espnet",
        {
            "variant": ("A", "C", "ESPNet"),
            "image_path": ("none", "reinforcement"),
            "k": (3, 4, 5),
            "alpha2": (1, 2),
            "alpha3": (1, 3, 6),
            "widths": ((8, 32, 64), (16, 48, 96), (16, 64, 128)),
        },
    )


@pytest.fixture(scope="module")
def todo():
    return plan.plan(space(), SIZES, 70, networks=4)


@pytest.fixture(scope="module")
def model(todo):
    return BlockModel([as_measured(block) for block in todo.blocks], CALL_S)


def test_measured_blocks_are_looked_up(todo, model):
    for block in todo.blocks:
        found = model.estimate(block)
        assert found.measured
        assert found.seconds == pytest.approx(true_seconds(block), rel=1e-9)


def test_networks_at_other_sizes_are_predicted(model):
    """Specs and sizes that were not timed; the form of the machine's cost is not quite the model's."""
    for spec in plan.sample_specs(space(), 12, seed=9):
        graph = lower(spec, (48, 96))
        true = sum(true_seconds(block) for _, block in blocks(graph.layers))
        found = sum(model.estimate(block).seconds for _, block in blocks(graph.layers))
        assert found == pytest.approx(true, rel=0.08)


def test_rates_are_never_negative_and_times_always_positive(model):
    assert all((rates >= 0).all() for rates in model.rates.values())
    for block in distinct([NETWORKS["ESPNet"].layers]):
        assert model.estimate(block).seconds > 0


def test_an_estimate_is_less_sure_far_from_what_was_measured(todo, model):
    near = model.interpolate(todo.blocks[0]).sd
    far = model.interpolate(
        next(
            b
            for b in distinct([lower(ESPNetSpec(widths=(64, 512, 1024), k=8), (512, 1024)).layers])
            if b.kind == "unit"
        )
    )
    assert far.sd > 2 * near


def test_the_held_out_error_is_of_structures_left_out_with_all_their_sizes(model):
    assert len(model.held_out) == len(model.rows)
    summary = model.held_out_summary()
    assert set(summary) == {row.block.kind for row in model.rows}
    assert all(found["widening"] >= 1 for found in summary.values())


def test_what_was_never_measured_is_named(model):
    shuffled = lower(ESPNetv2Spec(scale=0.5), (64, 128))
    unknown = {model.unknown(block) for _, block in blocks(shuffled.layers)}
    assert any("grouped" in text or "depthwise" in text for text in unknown)
    assert all(model.unknown(block) == "" for _, block in blocks(NETWORKS["C"].layers))


def test_features_add_up_and_scale_with_the_image():
    small, large = (lower(ESPNetSpec(), size) for size in ((64, 128), (128, 128)))
    for a, b in zip(blocks(small.layers), blocks(large.layers), strict=True):
        assert (features(a[1]) >= 0).all()
        assert (features(b[1]) >= features(a[1]) - 1e-9).all()
        assert (features(a[1], 2) >= features(a[1])).all()


# --- shares of whole networks -------------------------------------------------------------------------


def whole(rng, share, noise=0.0):
    """A network of random blocks that reaches `share` of their speed, by kind and with or without a PReLU."""
    seconds = np.zeros((len(KINDS), 2))
    seconds[:3, int(rng.integers(2))] = rng.uniform(0.001, 0.1, size=3)
    return shares.Whole(seconds, float((seconds / share).sum() * np.exp(noise * rng.normal())), 0.005)


def unfitted():
    return Fit.unfitted(dict.fromkeys(SHARES, 1.0), dict.fromkeys(SHARES, 0.1), 0.05)


def test_shares_by_kind_are_learned_from_whole_networks():
    rng = np.random.default_rng(0)
    true = np.array([1.1, 0.9, 0.95, *[1.0] * (len(KINDS) - 3)])[:, None] * np.array([1.0, 0.94])
    fit, errors = shares.learned(unfitted(), [whole(rng, true) for _ in range(30)], 0.0)
    assert np.abs(errors).max() < 0.04
    logs = fit.theta[0] + fit.theta[1:4]
    assert np.exp(logs) == pytest.approx(true[:3, 0], rel=0.03)
    assert np.exp(logs + fit.theta[-1]) == pytest.approx(true[:3, 1], rel=0.03)
    assert fit.network_sd == pytest.approx(shares.LEAST_SD, abs=0.01)


def test_the_error_that_is_claimed_holds_networks_that_were_not_measured():
    rng, held = np.random.default_rng(1), []
    for _ in range(20):
        fit, _ = shares.learned(unfitted(), [whole(rng, 1.05, 0.06) for _ in range(24)], 0.0)
        for _ in range(20):
            one = whole(rng, 1.05, 0.06)
            guess = shares._times(fit.theta, one.blocks_s[None], 0.0)[0][0]
            held.append(abs(np.log(one.seconds) - guess) <= 1.645 * fit.network_sd)
    assert 0.86 <= np.mean(held) <= 0.95


def test_shares_of_no_network_are_the_prior():
    fit, errors = shares.learned(unfitted(), [], 0.0)
    assert (fit.theta == 0).all()
    assert not len(errors)


def test_whole_networks_are_timed_between_the_sizes_of_the_blocks_too():
    assert plan.between([(64, 128)]) == ((64, 128),)
    at = plan.between(plan.SIZES)
    assert set(plan.SIZES) < set(at)
    assert len(at) == 2 * len(plan.SIZES) - 1
    assert all(height % 8 == 0 and width % 8 == 0 for height, width in at)


# --- inputs ---------------------------------------------------------------------------------------------


def test_inputs_take_turns_in_the_same_arrays():
    entry = runtimes.field(Shape(3, 8, 16))
    turns = runtimes.Turns({"x": entry})
    seen = []
    for _ in range(len(turns)):
        feed = turns.next()
        assert feed["x"] is turns.feed["x"]
        assert np.array_equal(np.sort(feed["x"], axis=None), np.sort(entry, axis=None))
        seen.append(feed["x"].copy())
    assert len(turns) == runtimes.TURNS
    assert len({x.tobytes() for x in seen}) > len(turns) // 2
    assert np.array_equal(turns.next()["x"], seen[0])
    assert len(runtimes.Turns({"x": np.zeros((1, 64, 256, 256), np.float32)})) == 1


# --- measuring with a fake machine -------------------------------------------------------------------


class Machine:
    """Times blocks and networks without running them; `noise(n)` is the factor on the n-th timing."""

    def __init__(self, noise=lambda n: 1.0, stop_after=None):
        self.noise, self.stop_after, self.timings = noise, stop_after, 0

    def _timing(self, seconds):
        self.timings += 1
        if self.stop_after is not None and self.timings > self.stop_after:
            raise KeyboardInterrupt
        t = seconds * self.noise(self.timings)
        return timing.Timing(t, 0.995 * t, 1.005 * t, 0.0, True, 15)

    def block(self, block):
        return self._timing(true_seconds(block) + CALL_S / block.copies)

    def network(self, graph):
        return self._timing(1.05 * sum(true_seconds(block) for _, block in blocks(graph.layers)) + CALL_S)


RECIPE = {"space": "test", "sizes": [list(size) for size in SIZES], "blocks": 70, "networks": 4}
NOW = conditions("onnxruntime", 1)


def measured(todo, machine, *, resume=False, name="fake", max_spread=0.25):
    journal = Journal(journal_path(name))
    visits = journal.open(NOW, RECIPE, resume)
    # A timing takes a second.
    measure.visit(todo, visits, journal, machine.block, machine.network, lambda: float(machine.timings))
    return new_device.finish(name, todo, visits, NOW, max_spread, replaces=False)


@pytest.fixture(scope="module")
def finished(todo, tmp_path_factory):
    """The folder of a device that was measured once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("finished")))
        report = measured(todo, Machine())
        assert report.rows + report.skipped == len(todo.blocks) + 1
        return report.device.folder


@pytest.fixture
def device(finished):
    """The device `fake` among the user's own."""
    add_device(finished)
    return load_device("fake")


def test_a_measurement_makes_a_device_that_predicts(device):
    assert device.stack == "onnxruntime"
    # Whole networks were 5 % slower than their blocks.
    found = [shares_of(device, block) for _, block in blocks(NETWORKS["C"].layers)]
    assert np.mean(found) == pytest.approx(1 / 1.05, rel=0.03)
    for spec in plan.sample_specs(space(), 6, seed=5):
        graph = lower(spec, (40, 80))
        true = 1.05 * sum(true_seconds(block) for _, block in blocks(graph.layers)) + CALL_S
        cost = predict(graph, "fake")
        assert cost.latency_s.mean == pytest.approx(true, rel=0.08)
        assert cost.latency_s.low < cost.latency_s.mean < cost.latency_s.high
        assert sum(kernel.share for kernel in cost.kernels) == pytest.approx(1)
        assert sum(cost.provenance.values()) == pytest.approx(1)


def shares_of(device, block):
    return shares.share_of(device.latency.theta, block)


def test_a_space_is_priced_as_its_networks_are(device):
    choices = space()
    valid = np.array([i for i in range(choices.size) if _spec(choices, i) is not None])[::17]
    prices = predictor("fake")
    terms = BulkLowering(choices, Shape(3, 64, 128)).lower(choices.codes(valid)).total(prices.terms, width=prices.width)
    costs = prices.finish(terms)
    for i, row in enumerate(valid):
        one = predict(lower(_spec(choices, int(row)), (64, 128)), "fake")
        assert costs.latency_s_mean[i] == pytest.approx(one.latency_s.mean, rel=1e-12)
        assert costs.latency_s_high[i] == pytest.approx(one.latency_s.high, rel=1e-12)


def test_many_equal_units_make_the_interval_no_narrower(device):
    few, many = (predict(lower(ESPNetSpec(alpha3=n), (40, 80)), "fake").latency_s for n in (3, 30))
    assert many.high / many.mean >= 0.98 * few.high / few.mean


def test_an_interrupted_measurement_is_continued(todo):
    whole = Machine()
    uninterrupted = measured(todo, whole, name="whole")
    reference = uninterrupted.device
    first = Machine(stop_after=30)
    with pytest.raises(KeyboardInterrupt):
        measured(todo, first)
    path = journal_path("fake")
    path.write_text(path.read_text() + '{"block": "torn off in the mid')
    second = Machine()
    report = measured(todo, second, resume=True)
    device = report.device
    assert report.seconds == pytest.approx(uninterrupted.seconds, abs=3)
    # No visit is made twice; only the reference may be timed once or twice more.
    assert whole.timings <= first.timings - 1 + second.timings <= whole.timings + 3
    assert own_device.read_blocks(device.folder) == own_device.read_blocks(reference.folder)


def test_a_journal_has_one_writer():
    """The other command is refused before it reads or writes a line; a dead holder is no holder."""
    with (
        Journal(journal_path("mine")).held(),
        pytest.raises(ZooError, match=r"held by a measurement of mine \(process .*name another --device"),
        Journal(journal_path("mine")).held(),
    ):
        pass
    with Journal(journal_path("mine")).held():
        pass


def test_a_journal_is_neither_overwritten_nor_mixed(todo):
    with pytest.raises(KeyboardInterrupt):
        measured(todo, Machine(stop_after=5))
    with pytest.raises(ZooError, match="continue it with --resume"):
        measured(todo, Machine())
    journal = Journal(journal_path("fake"))
    with pytest.raises(ZooError, match=r"was measured with threads 1, which is now 2; results of the two"):
        journal.open(replace(NOW, threads=2), RECIPE, resume=True)
    with pytest.raises(ZooError, match="was begun for space test"):
        journal.open(NOW, RECIPE | {"blocks": 71}, resume=True)
    journal.path.write_text(journal.path.read_text() + "no json\n")
    with pytest.raises(ZooError, match="is damaged"):
        journal.open(NOW, RECIPE, resume=True)


def test_blocks_whose_visits_disagree_are_visited_again(todo):
    calm, jumpy = Machine(), Machine(lambda n: 1.0 if n % 3 else 1.3)
    measured(todo, calm, name="calm")
    measured(todo, jumpy, name="jumpy")
    assert jumpy.timings > 1.2 * calm.timings
    pairs = zip(*(own_device.read_blocks(home() / name) for name in ("calm", "jumpy")), strict=True)
    assert all(a.latency_s == pytest.approx(b.latency_s) for a, b in pairs)


def test_a_machine_too_noisy_is_a_no_and_no_device(todo, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    noisy = Machine(lambda n: float(np.exp(rng.normal(0, 2))))
    with pytest.raises(NegativeAnswer, match="too noisy to measure"):
        measured(todo, noisy)
    assert not (home() / "fake").exists()

    def run(todo, visits, journal, settings, progress, announced_s):
        measure.visit(todo, visits, journal, noisy.block, noisy.network, lambda: 0.0)

    monkeypatch.setattr(measure, "run", run)
    monkeypatch.setattr(plan, "SAMPLED", 30)
    code = main(["measure", "--device", "cli", "--space", "tiny", "--size", "64x32", "--count", "20", "--threads", "1"])
    assert code == 3
    assert "too noisy" in capsys.readouterr().err


def test_the_time_left_is_honest_while_noisy_blocks_are_visited_again(todo):
    jumpy = Machine(lambda n: 1.0 if n % 3 else 1.3)
    said = []
    journal = Journal(journal_path("left"))
    visits = journal.open(NOW, RECIPE, resume=False)

    def progress(done, planned, left):
        said.append((done, planned, left))

    # A timing takes a second, whatever it times; the reference's come on top.
    measure.visit(todo, visits, journal, jumpy.block, jumpy.network, lambda: float(jumpy.timings), progress)
    total, took = said[-1][0], float(jumpy.timings)
    assert said[-1] == (total, total, 0.0)
    assert total > 1.2 * 2 * (len(todo.blocks) + len(todo.networks))
    assert all(planned > done and left > 0 for done, planned, left in said[:-1])
    for part in (0.3, 0.5, 0.7, 0.85):
        _done, planned, left = said[int(part * total)]
        assert planned == pytest.approx(total, rel=0.25)
        assert left == pytest.approx(took * (1 - part), rel=0.5, abs=0.1 * took)


@pytest.mark.parametrize("overhead_s", [0.0, 0.05, 0.5])
def test_the_time_that_is_said_is_the_time_that_it_takes(todo, overhead_s):
    def visit_s(work):
        return overhead_s + 17e-9 * work

    some, whole = plan.pilots(todo)
    said = plan.seconds_of(
        todo,
        [(plan.block_work(block), visit_s(plan.block_work(block))) for block in some],
        [(plan.network_work(*one), visit_s(plan.network_work(*one))) for one in whole],
        [2.2] * len(todo.blocks),
        [2.2] * len(todo.networks),
    )
    spent = 0.0

    class Costly(Machine):
        def block(self, block):
            nonlocal spent
            spent += visit_s(plan.block_work(block))
            return super().block(block)

        def network(self, graph):
            nonlocal spent
            spent += visit_s(sum(plan._work(block) for _, block in blocks(graph.layers)))
            return super().network(graph)

    measured(todo, Costly(), name="costly")
    assert spent / 1.5 < said < 1.5 * spent


class Pilot:
    """A machine on which a first visit takes 0.3 s and a later one 0.1 s; where it is restless, the two disagree."""

    def __init__(self, restless):
        self.now, self.restless, self.order = 0.0, restless, []

    def timing(self, item):
        first = str(item) not in self.order
        self.order.append(str(item))
        self.now += 0.3 if first else 0.1
        median = 1e-3 * (1.2 if first and self.restless else 1.0)
        return timing.Timing(median, median, median, 0.0, True, 5)

    def seconds_ahead(self, todo, visits, monkeypatch):
        monkeypatch.setattr(measure.Timer, "time_block", lambda _, block: self.timing(block.text))
        monkeypatch.setattr(measure.Timer, "time_network", lambda _, graph: (self.timing(graph), None))
        return measure.seconds_ahead(todo, visits, Settings("onnxruntime", 1, 1), lambda: self.now)


@pytest.mark.parametrize(("restless", "least", "most"), [(False, 2.0, 2.2), (True, 3.0, 4.0)])
def test_pilots_tell_the_seconds_of_first_and_later_visits_and_how_many_a_restless_machine_needs(
    todo, monkeypatch, restless, least, most
):
    pilot = Pilot(restless)
    items = len(todo.blocks) + len(todo.networks)
    visits_a_piece = pilot.seconds_ahead(todo, Visits(), monkeypatch) / (0.2 * items) / (1 + plan.REFERENCE_SHARE)
    assert least <= visits_a_piece <= most
    first_round, second_round = pilot.order[1 : len(pilot.order) // 2 + 1], pilot.order[len(pilot.order) // 2 + 1 :]
    assert first_round == second_round, "a second visit follows all first ones, as it will"


def test_what_was_measured_before_an_interruption_is_not_announced_again(todo, monkeypatch):
    agreeing = [timing.Timing(1e-3, 1e-3, 1e-3, 0.0, True, 5)] * 2
    half = Visits(blocks={block.text: list(agreeing) for block in todo.blocks[::2]})
    ahead_s, whole_s = (Pilot(False).seconds_ahead(todo, visits, monkeypatch) for visits in (half, Visits()))
    items = len(todo.blocks) + len(todo.networks)
    assert ahead_s / whole_s == pytest.approx(1 - len(todo.blocks[::2]) / items)


@pytest.mark.parametrize("announced_visits", [1.0, 2.5])
def test_visits_are_repeated_only_as_long_as_the_announced_time_allows_and_the_worst_first(todo, announced_visits):
    """Two visits are always made, and the last one that is begun in time is finished."""
    rng = np.random.default_rng(1)
    restless = Machine(lambda n: float(np.exp(rng.normal(0, 0.3))))
    items = len(todo.blocks) + 1 + len(todo.networks)
    journal = Journal(journal_path("restless"))
    visits, announced_s, forecasts = journal.open(NOW, RECIPE, resume=False), announced_visits * items, []

    def seconds():
        return float(restless.timings)

    def progress(done, planned, left_s):
        forecasts.append(seconds() + left_s)

    measure.visit(todo, visits, journal, restless.block, restless.network, seconds, progress, announced_s)
    assert all(len(timings) >= 2 for timings in (*visits.blocks.values(), *visits.networks.values()))
    least_s = items * 2 * (1 + 1 / measure.REFERENCE_EVERY)
    end_s = max(least_s, measure.OVERTIME * announced_s)
    assert seconds() == pytest.approx(end_s, abs=3)
    # The first forecasts know of one visit, and that the reference was timed with it.
    assert max(forecasts[measure.REFERENCE_EVERY :]) == pytest.approx(end_s, rel=0.1)
    again, settled = (
        [difference(timings[:2]) for timings in visits.blocks.values() if (len(timings) > 2) is repeated]
        for repeated in (True, False)
    )
    assert min(again, default=np.inf) >= max(settled)


def test_the_interval_is_as_wide_as_the_drift_and_the_spread_that_was_allowed(todo):
    drifting = measured(todo, Machine(lambda n: 1.0 + 0.45 * (n > 20)), name="drifting", max_spread=9)
    assert drifting.drift == pytest.approx(0.45, abs=0.02)
    cost = predict(NETWORKS["C"], drifting.device).latency_s
    assert cost.high / cost.mean > 1.44
    noisy = Machine(lambda n: 1.0 if n % 7 else 1.0 + 0.05 * (n % 5))
    calm = measured(todo, noisy, name="allowed", max_spread=0.7)
    assert "70% was allowed (--max-spread)" in calm.device.notes[-2]
    assert calm.device.notes[-1] == f"0 of {len(todo.blocks) + 1} blocks were not seen twice within 5%."


def test_a_block_model_that_says_nothing_is_refused(todo):
    rng = np.random.default_rng(0)
    factors: dict[str, float] = {}

    class Wild(Machine):
        def block(self, block):
            factor = factors.setdefault(block.text, float(np.exp(rng.normal(0, 2.5))))
            return timing.Timing(*(factor * true_seconds(block) * x for x in (1.0, 0.995, 1.005)), 0.0, True, 15)

    with pytest.raises(NegativeAnswer, match=r"too noisy to measure, .* with a median error of \d{3,}%"):
        measured(todo, Wild(), name="wild", max_spread=9)
    assert not (home() / "wild").exists()


def test_what_other_programs_take_is_told():
    def at(all_s, own_s, wall_s):
        return environment.CpuTime(all_s, own_s, wall_s)

    assert environment.others_load(at(100, 10, 0), at(125, 20, 10)) == pytest.approx(1.5)
    assert environment.others_load(at(100, 10, 0), at(110, 20, 10)) == 0
    assert environment.others_load(None, at(110, 20, 10)) is None
    assert environment.busy_text(1.5, 2) == "the machine was busy: other programs took 1.5 of its 2 cores"
    assert environment.busy_text(0.05, 2) is None


def test_drift_is_what_the_reference_says(todo):
    ramp = measured(todo, Machine(lambda n: 1.0 + n / 1000), max_spread=9)
    assert ramp.drift > 0.05
    assert measured(todo, Machine(), name="calm").drift == 0


@pytest.mark.parametrize(
    ("backend", "stack"), [("onnxruntime", "onnxruntime"), ("openvino", "openvino"), ("torch", "pytorch-eager")]
)
def test_a_measured_device_is_of_the_runtime_that_ran(todo, backend, stack, monkeypatch):
    monkeypatch.setattr(environment.metadata, "version", lambda name: "1")
    machine = environment.conditions(backend, 1)
    journal = Journal(journal_path(backend))
    visits = journal.open(machine, RECIPE, resume=False)
    clock = Machine()
    measure.visit(todo, visits, journal, clock.block, clock.network, lambda: float(clock.timings))
    assert new_device.finish(backend, todo, visits, machine, 0.25, replaces=False).device.stack == stack


@pytest.mark.parametrize("name", ["tx2", "../x", "", "a b", ".x"])
def test_names_that_cannot_be_are_refused(name):
    with pytest.raises(DeviceError, match=r"choose another"):
        own_folder.refuse_taken(name, replaces=False)


def test_a_device_is_replaced_only_when_asked(device):
    with pytest.raises(DeviceError, match="add --replace"):
        own_folder.refuse_taken("fake", replaces=False)
    assert own_folder.refuse_taken("fake", replaces=True).is_dir()


def test_power_that_was_not_read_cannot_be_limited(device):
    assert device.power_covers == "nothing"
    prices = predictor(device)
    terms = prices.terms(NETWORKS["C"].layers)
    assert prices.quantile(terms, "latency_s", 0.9) > 0
    with pytest.raises(DeviceError, match="has no reading of power, so power_w cannot be limited"):
        prices.quantile(terms, "power_w", 0.9)


def test_power_that_was_read_is_predicted_and_may_be_limited(todo):
    machine, journal = Machine(), Journal(journal_path("metered"))
    visits = journal.open(NOW, RECIPE, resume=False)
    for entry in ({"idle_w": 5.0, "covers": "1 CPU package"}, {"watts": 20.0}, {"watts": 21.0}, {"watts": 22.0}):
        journal.append(entry)
        visits.add(entry)
    measure.visit(todo, visits, journal, machine.block, machine.network, lambda: 0.0)
    device = new_device.finish("metered", todo, visits, NOW, 0.25, replaces=False).device
    assert device.power_covers == "1 CPU package"
    cost = predict(NETWORKS["C"], device)
    assert cost.power_w.mean == pytest.approx(21, rel=0.02)
    assert cost.energy_j.mean == pytest.approx(cost.power_w.mean * cost.latency_s.mean)
    prices = predictor(device)
    assert prices.quantile(prices.terms(NETWORKS["C"].layers), "power_w", 0.9) > cost.power_w.mean


def test_a_larger_image_than_any_measured_is_less_sure_but_no_error(device):
    small, large = (predict(lower(ESPNetSpec(), size), device).latency_s for size in ((64, 128), (512, 1024)))
    assert large.mean > 20 * small.mean
    assert large.high / large.mean > small.high / small.mean


def test_ops_never_measured_are_an_error(device):
    with pytest.raises(DeviceError, match=r"device fake has no measurement of .*; measure a space that has it"):
        predict(lower(ESPNetv2Spec(scale=0.5), (64, 128)), "fake")


def test_the_commands_take_the_device(device, capsys, tmp_path):
    assert main(["predict", "espnet-c-3", "--device", "fake", "--size", "128x64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stack"] == "onnxruntime"
    assert main(["device", "validate", "fake", "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert len(checked["points"]) == 4
    assert checked["mape"] < 0.1
    run = str(tmp_path / "run")
    assert main(["search", "--space", "tiny", "--device", "fake", "--size", "128x64", "--no-plots", "-o", run]) == 0
    assert main(["verify", run]) == 0


# --- bad tables -------------------------------------------------------------------------------------

EDITS = {
    "a missing unit": (lambda t: t.replace("latency_s,", "latency,", 1), "has no unit; name it 'latency_s'"),
    "a negative time": (lambda t: _cell(t, 5, "-1"), "line 2: latency_s: must be positive, but is -1"),
    "not a number": (lambda t: _cell(t, 5, "nan"), "line 2: latency_s: must be finite"),
    "a duplicate": (lambda t: t + t.splitlines()[1] + "\n", "the same block as in line 2"),
    "two stacks": (lambda t: _cell(t, 3, "tensorrt"), "in a table of 'tensorrt'"),
    "an interval beside its value": (lambda t: _cell(t, 6, "9"), "must lie between"),
}


def _cell(text, column, value):
    import csv
    import io

    rows = list(csv.reader(io.StringIO(text)))
    rows[1][column] = value
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize("name", EDITS)
def test_a_broken_table_of_blocks_is_refused(device, name):
    edit, message = EDITS[name]
    path = device.folder / "blocks.csv"
    path.write_text(edit(path.read_text()))
    with pytest.raises(TableError, match=message):
        own_device.read_blocks(path.parent)


def test_a_table_outside_the_folder_is_refused(device, tmp_path):
    path = device.folder / "blocks.csv"
    (tmp_path / "elsewhere.csv").write_text(path.read_text())
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(TableError, match="lies outside the device's folder"):
        own_device.read_blocks(path.parent)


# --- conditions -------------------------------------------------------------------------------------


def test_conditions_are_read_from_the_system(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(
        "model name : Fast CPU\ncpu MHz : 1200.5\nprocessor : 1\nmodel name : Fast CPU\ncpu MHz : 2400.4\n"
    )
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    governor.mkdir(parents=True)
    (governor / "scaling_governor").write_text("performance\n")
    found = conditions("torch", 1, root=tmp_path)
    assert (found.machine, found.clock_mhz, found.governor) == ("Fast CPU", 2400, "performance")
    assert "onnxruntime" not in found.versions
    assert found.stack == "pytorch-eager"
    bare = conditions("torch", 1, root=tmp_path / "nothing")
    assert (bare.governor, bare.clock_mhz) == ("unknown", 1000)


@pytest.mark.parametrize(("mhz", "stops_at"), [("2600", "choosing"), ("3000", "not at 3000"), ("0", "MHz")])
def test_a_clock_is_one_that_this_machine_runs_at(mhz, stops_at, monkeypatch, capsys):
    """Within a tenth the measurement begins; another clock is refused before anything is chosen or timed."""
    monkeypatch.setattr(environment, "conditions", lambda *_: replace(NOW, clock_mhz=2400.0))

    def begin(*_, **__):
        raise ZooError("choosing what to time")

    monkeypatch.setattr(plan, "plan", begin)
    assert main(["measure", "--device", f"mine@{mhz}", "--backend", "torch"]) in (1, 2)
    err = capsys.readouterr().err
    assert stops_at in err.splitlines()[-1]
    assert ("runs at 2400 MHz" in err) is (mhz == "3000")
    assert not (home() / "mine").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"governor": "powersave"}, "governor"),
        ({"versions": {"torch": "1"}}, "with versions"),
        ({"backend": "torch"}, "with backend"),
        ({"clock_mhz": 1.2 * NOW.clock_mhz}, "MHz and the clock is now"),
    ],
)
def test_measurements_of_two_conditions_are_not_mixed(change, message):
    refuse_mixture(NOW, replace(NOW, clock_mhz=1.05 * NOW.clock_mhz), "here")
    with pytest.raises(ZooError, match=message):
        refuse_mixture(NOW, replace(NOW, **change), "here")


# --- power ------------------------------------------------------------------------------------------


def test_rapl_counts_and_wraps(tmp_path):
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    (zone / "intel-rapl:0:0").mkdir(parents=True)
    (zone / "max_energy_range_uj").write_text("1000000")
    (zone / "energy_uj").write_text("900000")
    meter = energy.source(tmp_path, nvidia_smi="/nonexistent")
    assert isinstance(meter, energy.Counter)
    assert meter.covers == "1 CPU package"
    times = iter([10.0, 10.5])
    with energy.measured(meter, clock=lambda: next(times)) as reading:
        (zone / "energy_uj").write_text("150000")
    assert reading.joules == pytest.approx(0.25)
    assert reading.watts == pytest.approx(0.5)


def test_the_gpu_rail_of_a_jetson_is_found_in_both_layouts(tmp_path):
    old = tmp_path / "old/sys/bus/i2c/drivers/ina3221x/0-0040/iio:device0"
    old.mkdir(parents=True)
    for i, (name, mw) in enumerate([("VDD_SYS_CPU", 700), ("VDD_SYS_GPU", 4120), ("VDD_IN", 9000)]):
        (old / f"rail_name_{i}").write_text(f"{name}\n")
        (old / f"in_power{i}_input").write_text(f"{mw}\n")
    found = energy.ina(tmp_path / "old")
    assert (found.name, found.covers, found.read_w()) == ("VDD_SYS_GPU", "GPU rail", 4.12)
    new = tmp_path / "new/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    new.mkdir(parents=True)
    # A joint rail is not the GPU's.
    for name, value in (("in2_label", "VDD_CPU_GPU_CV"), ("in2_input", "5000"), ("curr2_input", "100")):
        (new / name).write_text(f"{value}\n")
    (new / "in1_label").write_text("VDD_IN\n")
    (new / "in1_input").write_text("5000\n")
    (new / "curr1_input").write_text("1200\n")
    found = energy.ina(tmp_path / "new")
    assert (found.covers, found.read_w()) == ("board", pytest.approx(6.0))


def test_a_card_is_asked_through_nvidia_smi(tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 123.45\n")
    tool.chmod(0o755)
    meter = energy.source(tmp_path, nvidia_smi=str(tool))
    assert meter.covers == "card"
    with energy.measured(meter, period_s=0.001) as reading:
        pass
    assert reading.samples
    assert reading.watts == pytest.approx(123.45)
    tool.write_text("#!/bin/sh\necho '[N/A]'\n")
    assert energy.source(tmp_path, nvidia_smi=str(tool)) is None


def test_a_machine_without_sensors_has_no_reading(tmp_path):
    assert energy.source(tmp_path, nvidia_smi="/nonexistent") is None


# --- calibration ------------------------------------------------------------------------------------


def bench_file(tmp_path, factor, device, count=6, stack="onnxruntime"):
    """What zoo bench writes on a machine that is `factor` times as slow as `device` says, give or take 1 %."""
    entries = []
    for i in range(count):
        spec = ESPNetSpec(alpha3=2 + i, k=4)
        seconds = predict(lower(spec, (64, 128)), device).latency_s.mean * factor * (1.01 if i % 2 else 0.99)
        entries.append(
            {
                "model": f"net-{i}",
                "spec": {"family": "espnet", "alpha3": 2 + i, "k": 4},
                "size": "128x64",
                "latency_s": {"median": seconds, "low": 0.995 * seconds, "high": 1.005 * seconds},
                "power_w": None,
                "protocol": {"backend": stack, "batch": 1},
            }
        )
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(entries))
    return path


def test_calibration_tightens_ones_own_device(device, tmp_path):
    device = replace(device, latency=replace(device.latency, network_sd=0.15))
    points = measurements.own_points(measurements.from_bench(bench_file(tmp_path, 1.1, device)), device).points
    found = recalibrate.recalibrate(device, points)
    assert found.error("before", "latency_s") > 0.08
    assert found.error("after", "latency_s") < 0.03
    assert found.interval("after", "latency_s") < 0.5 * found.interval("before", "latency_s")
    assert found.device.folder == home() / "fake"
    assert len(load_device("fake").points) == len(device.points) + 6


def test_calibration_of_a_shipped_device_writes_a_copy(tmp_path, capsys):
    before = {path: path.read_bytes() for path in sorted((SHIPPED / "tx2").iterdir())}
    path = bench_file(tmp_path, 1.3, "tx2", stack="torch")
    assert main(["device", "calibrate", "tx2", "--bench", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["device"] == "tx2-calibrated"
    assert found["after"]["error"] < found["before"]["error"]
    assert found["after"]["interval"] < found["before"]["interval"]
    assert {path: path.read_bytes() for path in sorted((SHIPPED / "tx2").iterdir())} == before
    assert load_device("tx2-calibrated").points[-1].source == "zoo bench"
    assert main(["device", "calibrate", "tx2", "--bench", str(path)]) == 0
    assert "intervals" in capsys.readouterr().out


def test_the_space_of_the_command_is_that_of_the_configuration():
    assert {"default", "espnetv2"} <= set(load_config().spaces)
