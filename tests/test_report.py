"""What people look at: the HTML report, the static charts, what a limit costs, and the papers of a candidate."""

import base64
import hashlib
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from hw_models.predictors import predictor
from search.clocks import settings_of
from search.device_at import DeviceAt
from search.exact import NothingFeasible, answer
from search.exact import search as exact
from search.model_ref import resolve
from search.pricing import Evaluator
from search.query import DEVICE_METRICS, Query
from search.report import html as html_report
from search.report.html import policy, render, write_report
from search.report.html_data import canonical, report_data, spread
from search.report.kept_chart import keep_chart, kept_chart
from search.runs.folder import claimed
from search.runs.model_card import write_papers
from search.runs.reader import axis, load_run, values
from search.runs.writer import write
from search.sensitivity import SENSITIVITIES, regrets, sensitivity, staircase
from search.space import SearchSpace
from search.table_files import TableFiles
from search.union import union_of
from zoo.bulk.choices import Choices
from zoo.cli import main
from zoo.config import Limits, load_config
from zoo.errors import ConfigError, ZooError
from zoo.quantities import LIMITS as LIMIT_NAMES
from zoo.registry import lower, spec_from_dict
from zoo.specs import as_dict
from zoo.yaml_strict import read_yaml

pytestmark = pytest.mark.usefixtures("shared_tables")

SPACE = SearchSpace(
    Choices("espnet", {"variant": ("C", "ESPNet"), "k": (3, 4, 5, 8), "alpha2": (1, 2, 3), "alpha3": (3, 5, 8)}),
    (512, 1024),
)
LIMITS = Limits(max_latency_ms=95.0, max_params=400_000)
ONE = Query(space=SPACE, devices=(DeviceAt("tx2"),), limits=LIMITS)
JOINT = replace(ONE, devices=(DeviceAt("tx2"), DeviceAt("titanx")))


def written(folder: Path, query: Query) -> Path:
    with claimed(folder, query):
        write(query, answer(query), folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return written(tmp_path_factory.mktemp("runs") / "one", ONE)


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    return written(tmp_path_factory.mktemp("runs") / "joint", JOINT)


@pytest.fixture(scope="module")
def data(run):
    return report_data(load_run(run))


@pytest.fixture(scope="module")
def joint_data(joint):
    return report_data(load_run(joint))


def copied(run, tmp_path, change=lambda document: None, name="copy"):
    """A copy of a run whose front.json is changed."""
    folder = tmp_path / name
    shutil.copytree(run, folder)
    document = json.loads((folder / "front.json").read_text())
    change(document)
    (folder / "front.json").write_text(json.dumps(document))
    return folder


class Page(HTMLParser):
    """Elements of a page with their attributes, and the text of scripts, styles and title."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.inside, self.text = [], None, {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = len(self.elements) - 1 if tag in ("script", "style", "title") else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside is not None:
            self.text[self.inside] = self.text.get(self.inside, "") + data

    def of(self, tag):
        return [(attrs, self.text.get(i, "")) for i, (name, attrs) in enumerate(self.elements) if name == tag]

    @property
    def data(self):
        return json.loads(next(text for attrs, text in self.of("script") if attrs.get("id") == "data"))


# The page --------------------------------------------------------------------------------------------------------


def test_the_page_holds_the_front(run, tmp_path):
    document = write_report(run, tmp_path / "page.html")
    shown = Page((tmp_path / "page.html").read_text()).data
    front = json.loads((run / "front.json").read_text())["front"]
    assert document["candidates"] == len(front) > 5
    fields = shown["fields"]
    for i, entry in enumerate(front):
        assert {name: fields[name][shown["front"]["spec"][name][i]] for name in fields} == entry["spec"]
        for name in ("params", "macs", "weight_bytes", "memory_bytes"):
            assert shown["front"][name][i] == entry[name]
        pairs = [(shown["front"]["miou"], entry["miou"])]
        pairs += [(shown["front"]["devices"][0][m], entry["devices"]["tx2@1300"][m]) for m in DEVICE_METRICS]
        for column, value in pairs:
            assert [column[part][i] for part in value] == pytest.approx(list(value.values()), rel=1e-5)


def test_the_page_asks_for_nothing(data):
    page = render(data)
    parsed = Page(page)
    for tag, attrs in parsed.elements:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert not attrs.get(name) or attrs[name].startswith(("#", "data:")), (tag, attrs)
        assert not any(name.startswith("on") or name == "style" for name in attrs), (tag, attrs)
    code = "".join(text for attrs, text in parsed.of("script") if "type" not in attrs) + parsed.of("style")[0][1]
    for word in ("fetch(", "XMLHttpRequest", "import(", "@import", "url(", "innerHTML", "eval(", "document.write"):
        assert word not in code.replace("`url(#${clip})`", ""), word
    assert len(code) <= 70_000


def test_the_policy_admits_only_the_pages_own_script_and_style(data):
    parsed = Page(render(data))
    (said,) = [attrs["content"] for attrs, _ in parsed.of("meta") if "http-equiv" in attrs]
    directives = dict(part.strip().split(" ", 1) for part in said.split(";"))
    assert directives["default-src"] == "'none'"
    ((_, style),) = parsed.of("style")
    (script,) = [text for attrs, text in parsed.of("script") if "type" not in attrs]
    for name, text in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives[name] == f"'sha256-{digest}'"


EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">&{{DATA}}\u2028"


def hostile(run, tmp_path):
    def change(document):
        for entry in document["front"]:
            entry["miou_source"] = EVIL
        document["accuracy"]["protocol"] = EVIL

    return copied(run, tmp_path, change, name="<img src=x onerror='alert(1)'>&lt;{{SCRIPT}}")


def test_nothing_from_a_run_becomes_markup(run, data, tmp_path):
    folder = hostile(run, tmp_path)
    write_report(folder, tmp_path / "page.html")
    clean, page = Page(render(data)), Page((tmp_path / "page.html").read_text())
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in clean.elements]
    assert page.of("title")[0][1].startswith(folder.name)
    assert page.data["front"]["source"][0] == EVIL
    assert page.data["certified"] is False


def test_canonical_json_is_json_without_markup():
    value = {"a": EVIL, "b": ["<!--", 1.5, "é"]}
    text = canonical(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("front", 0, "miou", "mean"), float("nan")),
        (("front", 0, "params"), "12"),
        (("front", 1, "rank"), 7),
        (("front", 0, "spec", "alpha3"), -1),
        (("front", 0, "devices"), {}),
        (("front",), []),
        (("chosen",), 10_000),
        (("query", "objectives"), ["beauty"]),
    ],
    ids=lambda x: ".".join(map(str, x)) if isinstance(x, tuple) else "",
)
def test_a_damaged_run_is_one_sentence(path, value, run, tmp_path):
    def change(document):
        *way, last = path
        for key in way:
            document = document[key]
        document[last] = value

    with pytest.raises(ConfigError) as caught:
        write_report(copied(run, tmp_path, change), tmp_path / "page.html")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "page.html").exists()


def test_a_damaged_sample_is_one_sentence(run, tmp_path):
    folder = copied(run, tmp_path)
    text = (folder / "sample.csv").read_text()
    (folder / "sample.csv").write_text(re.sub(r"(?m)^1,(tx2@\d+),espnet,(.*)$", r"1,\1,espnet,x", text))
    with pytest.raises(ConfigError, match=r"sample\.csv: is damaged; run the search again"):
        write_report(folder, tmp_path / "page.html")


def charts(name):
    """A module that needs matplotlib."""
    return pytest.importorskip(f"search.report.{name}", exc_type=ImportError)


def studied(run, tmp_path):
    """A run as a study leaves it: some candidates trained, the others expected from those."""

    def change(document):
        front, rest = document["front"][:2], document["front"][2:]
        document |= {"kind": "study", "complete": False, "predicted": document["front"], "front": front}
        document["accuracy"] = {"model": "trained", "predicted": False, "protocol": "scenes, 12 epochs"}
        document["sampler"], document["trials"] = {"name": "ehvi"}, {"asked": 4}
        document["differences"] = [{"ranks": [1, 2], "difference": 1.0, "noise": 2.0, "exceeds_noise": False}]
        document["tried"] = [e | {"rank": i + 1, "miou_source": "trained (short)"} for i, e in enumerate(rest[:3])]
        document["front"] = [entry | {"miou_source": "trained (long)"} for entry in document["front"]]

    folder = copied(run, tmp_path, change, name="study")
    (folder / "certificate.json").unlink()
    return folder


def test_a_study_is_shown_with_what_it_expects_apart(run, tmp_path):
    shown = report_data(load_run(studied(run, tmp_path)))
    assert shown["accuracy"] is None
    assert shown["accuracy_used"]["protocol"] == "scenes, 12 epochs"
    assert (shown["sensitivity"], shown["regret"], shown["published"], shown["certificate"]) == ([], [], [], {})
    assert shown["front"]["source"] == ["trained (long)"] * 2
    assert len(shown["expected"]["params"]) == len(load_run(run).front)
    assert shown["study"]["differences"][0]["exceeds_noise"] is False


def test_a_studys_chart_tells_trained_from_expected(run, tmp_path):
    report = charts("panel")
    limit_costs = charts("limit_costs")
    from matplotlib.figure import Figure

    loaded = load_run(studied(run, tmp_path))
    panel = Figure().add_subplot()
    names, _ = report.draw_panel(panel, [loaded], axis("size", [loaded]), axis("miou", [loaded]))
    assert names == [], "published mIOU is of another protocol"
    assert {"trained", "expected from the trials", "measured, not on the front"} <= set(
        panel.get_legend_handles_labels()[1]
    )
    steps = {suffix: s for s, suffix, _ in limit_costs._staircases(loaded, "latency", "-")}
    # Of two that were measured, a step is at the limit that a search needs for it.
    for steps_of, entries in (
        (steps[", measured"], loaded.front),
        (steps[", expected from the trials"], loaded.predicted),
    ):
        best = max(entry["miou"]["mean"] for entry in entries)
        assert steps_of.miou[-1] == best
        limits = replace(LIMITS, max_latency_ms=float(steps_of.limit[-1]) * (1 + 1e-9))
        assert any(entry["miou"]["mean"] == best for entry in exact(replace(ONE, limits=limits)).front)
    limit_costs.draw_sensitivity([loaded.folder], [tmp_path / "sensitivity.png"], "params")
    assert (tmp_path / "sensitivity.png").stat().st_size > 5_000


@pytest.mark.parametrize("width_mm", [80.0, None])
def test_nothing_of_a_chart_leaves_its_frame(width_mm, tmp_path, monkeypatch):
    report = charts("figures")
    limit_costs = charts("limit_costs")
    layout = charts("layout")
    folder = written(tmp_path / "a-run-with-a-long-name", SLOW)
    other = written(tmp_path / "another-run", replace(ONE, limits=Limits(max_latency_ms=500.0)))
    figures = []
    monkeypatch.setattr(layout, "save", lambda figure, outputs: figures.append(figure))
    report.draw([folder], [tmp_path / "a.png"], None, width_mm)
    report.draw([folder, other], [tmp_path / "b.png"], (("energy", "miou"), ("latency", "miou")), width_mm)
    limit_costs.draw_sensitivity([folder, other], [tmp_path / "c.png"], "latency", width_mm)
    alone, overlaid, costs = figures
    for figure in figures:
        frame = figure.bbox
        texts = [figure._suptitle, *figure.legends, *(t for p in figure.axes for t in (p.xaxis.label, p.yaxis.label))]
        for text in texts:
            box = text.get_window_extent()
            assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1, text
    assert width_mm is None or alone.get_size_inches()[0] == pytest.approx(width_mm / 25.4)

    # Clocks have colours, limits lines; of overlaid runs both are named with device and limits.
    assert any("clock of tx2, MHz" in (p.get_ylabel(), p.get_xlabel()) for p in alone.axes)
    names = " ".join(" ".join(t.get_text().split()) for t in overlaid.legends[0].get_texts())
    assert "a-run-with-a-long-name: tx2; latency ≤ 200 ms, power ≤ 3 W" in names
    assert "another-run: tx2@1300; latency ≤ 500 ms" in names
    shown = [text.get_text() for panel in overlaid.axes for text in panel.texts]
    assert "latency ≤ 200 ms (a-run-with-a-long-name)" in names
    assert any("latency ≤ 500 ms" in text for text in [*shown, names])
    assert overlaid.axes[0].get_ylim() == overlaid.axes[1].get_ylim()
    assert len(costs.axes[0].get_lines()) >= 4


def test_runs_far_apart_share_a_logarithmic_axis(run, tmp_path):
    report = charts("panel")
    from matplotlib.figure import Figure

    def slower(factor):
        def change(document):
            for entry in document["front"]:
                for cost in (entry, *entry["devices"].values()):
                    cost["latency_s"] = {part: factor * value for part, value in cost["latency_s"].items()}

        return load_run(copied(run, tmp_path, change, name=f"slower-{factor}"))

    for factor, scale in ((3, "linear"), (5, "log")):
        runs = [load_run(run), slower(factor)]
        panel = Figure().add_subplot()
        report.draw_panel(panel, runs, axis("latency", runs), axis("miou", runs))
        assert panel.get_xscale() == scale


# What the sliders compute -----------------------------------------------------------------------------------------


def test_the_sliders_formula_is_the_predictors(joint, joint_data):
    loaded = load_run(joint)
    for d, device in enumerate(loaded.query.devices):
        prices = predictor(device.name, device.clock_mhz)
        for i in (0, len(loaded.front) // 2, len(loaded.front) - 1):
            terms = prices.terms(lower(loaded.spec(i + 1), SPACE.size).layers)
            for metric in DEVICE_METRICS:
                column = joint_data["front"]["devices"][d][metric]
                for z in (-1.0, 0.5, 2.0):
                    value = column["mean"][i] * np.exp(z * column["sd"][i])
                    shown = joint_data["devices"][d]
                    if metric == "power_w" and not shown["idle_w"] < value < shown["limit_w"]:
                        continue
                    own = 1 - NormalDist().cdf(z)
                    assert own == pytest.approx(float(prices.exceeding(terms, metric, value)), abs=2e-4)


def test_a_bound_that_was_cut_off_does_not_narrow_the_spread():
    z = 1.6448536269514722
    whole = {"mean": 4.0, "low": 4.0 * np.exp(-0.3 * z), "high": 4.0 * np.exp(0.3 * z)}
    assert spread(whole, 0.9) == pytest.approx(0.3)
    assert spread(whole | {"high": 4.2}, 0.9) == pytest.approx(0.3)
    assert spread({"mean": 0.0, "low": 0.0, "high": 0.0}, 0.9) == 0.0


def test_the_breakdown_adds_up(run, data):
    spec = load_run(run).spec(1)
    graph, layers = lower(spec, SPACE.size), data["breakdown"]["layers"]
    assert sum(layer["params"] for layer in layers) == graph.params == data["front"]["params"][0]
    assert sum(layer["macs"] for layer in layers) == graph.macs
    kernels = [layer["kernels"][0] for layer in layers if layer["kernels"][0]]
    assert len(kernels) == data["breakdown"]["devices"][0]["kernels"]
    assert sum(kernel["share"] for kernel in kernels) == pytest.approx(1.0, rel=1e-3)
    assert sum(data["breakdown"]["devices"][0]["provenance"].values()) == pytest.approx(1.0, rel=1e-3)


# What a limit costs -----------------------------------------------------------------------------------------------


def test_a_staircase_is_the_best_within_each_limit():
    rng = np.random.default_rng(0)
    limit, miou = rng.integers(1, 9, 40).astype(float), rng.uniform(40, 70, 40)
    steps = staircase(limit, miou)
    for at in np.arange(0.5, 10, 0.5):
        inside = miou[limit <= at]
        assert steps.at(at) == (inside.max() if len(inside) else None)
    assert (np.diff(steps.limit) > 0).all()
    assert (np.diff(steps.miou) > 0).all()


@pytest.mark.parametrize("query", [ONE, JOINT], ids=["one device", "joint"])
@pytest.mark.parametrize("name", ["latency", "energy", "params"])
def test_sensitivity_is_the_best_of_a_search_at_each_limit(name, query):
    """The definition: at every limit, what the exact search finds there."""
    steps = sensitivity(query, name)
    assert len(steps.limit) >= 2
    for at in (steps.limit[0] * 1.0001, float(np.mean(steps.limit[:2])), steps.limit[-1] * 1.5):
        limit = round(at) if name == "params" else float(at)
        kept = dict(query.limits.given()) | {SENSITIVITIES[name]: limit}
        found = exact(replace(query, limits=Limits(**kept)))
        assert steps.at(limit) == pytest.approx(found.columns.miou["mean"].max(), rel=1e-12)


def test_regret_is_what_a_search_for_one_device_finds_more():
    best = exact(JOINT).columns.miou["mean"].max()
    found = regrets(JOINT)
    assert [one.device for one in found] == ["tx2", "titanx"]
    for one, device in zip(found, JOINT.devices, strict=True):
        own = exact(replace(JOINT, devices=(device,))).columns.miou["mean"].max()
        assert one.best == pytest.approx(own - best)
        assert one.best >= 0
        assert one.largest[0] >= one.best - 1e-12
    assert found[1].best > 0, "the slower device must bind, or this tests nothing"


def test_regret_alone_is_zero():
    (only,) = regrets(ONE)
    assert only.best == 0
    assert only.largest[0] == 0


def test_the_joint_report_has_the_regret(joint_data):
    assert [one["device"] for one in joint_data["regret"]] == ["tx2@1300", "titanx@1531"]
    for one in joint_data["regret"]:
        assert one["lost"] == pytest.approx(one["own"] - one["joint"], abs=1e-4)


# Static charts ----------------------------------------------------------------------------------------------------


def test_axes_are_found_by_name(joint):
    loaded = load_run(joint)
    entry = loaded.front[0]
    slow, fast = (axis(f"latency@{name}", [loaded]) for name in ("tx2", "titanx@1531"))
    assert values(loaded, entry, slow)[0] == pytest.approx(1e3 * entry["devices"]["tx2@1300"]["latency_s"]["mean"])
    assert values(loaded, entry, fast)[0] == pytest.approx(1e3 * entry["devices"]["titanx@1531"]["latency_s"]["mean"])
    assert values(loaded, entry, axis("latency", [loaded])) == values(loaded, entry, slow)
    assert values(loaded, entry, axis("macs", [loaded])) == (entry["macs"] / 1e9,) * 3


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("energi", "did you mean 'energy'"),
        ("latency@titan", "did you mean 'titanx'"),
        ("miou@tx2", "does not depend on a device; write miou"),
    ],
)
def test_a_wrong_axis_suggests(name, way_out, joint):
    with pytest.raises(ConfigError, match=way_out):
        axis(name, [load_run(joint)])


def test_charts_in_every_format_are_the_same_every_time(run, joint, tmp_path):
    report = charts("figures")
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    report.draw([run, joint], [tmp_path / f"a.{kind}" for kind in starts], axes=[("latency@tx2", "miou")])
    report.draw([run, joint], [tmp_path / "b.svg", tmp_path / "b.pdf"], axes=[("latency@tx2", "miou")])
    for kind, start in starts.items():
        assert (tmp_path / f"a.{kind}").read_bytes().startswith(start)
    for kind in ("svg", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert b"/Type3" not in (tmp_path / "a.pdf").read_bytes()


def test_a_name_stands_at_the_first_of_all_cheapest_spots():
    pytest.importorskip("matplotlib")
    from matplotlib.transforms import Bbox

    from search.report import text_placement

    rng, inside = np.random.default_rng(0), Bbox.from_bounds(0, 0, 400, 300)
    for _ in range(20):
        occupied = [Bbox.from_bounds(*rng.uniform(0, 300, 2), *rng.uniform(5, 60, 2)) for _ in range(30)]
        names = [next(text_placement._spots(tuple(rng.uniform(0, 300, 2)), (40, 10), 2.0)) for _ in range(3)]
        spots = list(text_placement._spots(tuple(rng.uniform(0, 300, 2)), (50, 12), 2.0))
        costs = [text_placement._cost(spot, occupied, names, inside, 2.0) for spot in spots]
        found = text_placement._cheapest(iter(spots), occupied, names, inside, 2.0)
        assert found is spots[costs.index(min(costs))]


def test_a_chart_is_kept_under_the_files_that_it_shows(run, tmp_path, monkeypatch):
    report, query = charts("figures"), load_run(run).query
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    outputs, files = [folder / "a.png", folder / "a.svg"], TableFiles(tmp_path / "kept")
    assert not kept_chart(folder, query, outputs, files)
    report.draw([folder], outputs)
    drawn = [output.read_bytes() for output in outputs]
    keep_chart(folder, query, outputs, files)
    moved = tmp_path / "elsewhere"  # the name of the folder is not in the chart
    shutil.copytree(run, moved)
    assert kept_chart(moved, query, [moved / "a.png", moved / "a.svg"], files)
    assert [(moved / output.name).read_bytes() for output in outputs] == drawn
    report.draw([moved], [moved / "b.png", moved / "b.svg"])
    assert [(moved / f"b{output.suffix}").read_bytes() for output in outputs] == drawn
    assert not kept_chart(folder, query, outputs[:1], files)
    with monkeypatch.context() as patched:
        patched.setenv("MATPLOTLIBRC", "mine")
        assert not kept_chart(folder, query, outputs, files)
    sample = folder / "sample.csv"
    sample.write_text("\n".join(sample.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")
    assert not kept_chart(folder, query, outputs, files)


def test_a_chart_that_was_not_drawn_is_not_kept(run, tmp_path):
    files = TableFiles(tmp_path / "kept")
    keep_chart(run, load_run(run).query, [tmp_path / "absent.png"], files)
    assert not files.folder.exists()


@pytest.mark.parametrize(("x", "y"), [("size", "miou"), ("latency", "miou"), ("miou", "energy")])
def test_names_in_charts_overlap_nothing(x, y, run):
    report = charts("panel")
    from matplotlib.figure import Figure

    loaded = load_run(run)
    figure = Figure(figsize=(6.2, 5.2), dpi=150, layout="constrained")
    panel = figure.add_subplot()
    names, marks = report.draw_panel(panel, [loaded], axis(x, [loaded]), axis(y, [loaded]))
    charts("layout").finish(figure, [panel], "title")
    report.thin_out(panel)
    ranks = [text.get_window_extent() for text in panel.texts if text.get_visible()]
    boxes = charts("text_placement").place(panel, names, marks)
    assert len(boxes) >= 7 and ranks
    assert not any(box.overlaps(rank) for box in boxes for rank in ranks)
    inside = panel.get_window_extent()
    for a, b in combinations(boxes, 2):
        assert not a.overlaps(b)
    for box in boxes:
        assert inside.x0 < box.x0 < box.x1 < inside.x1
        assert inside.y0 < box.y0 < box.y1 < inside.y1
    points = panel.transData.transform([(px, py) for _, px, py in names])
    assert not any(box.contains(px, py) for box in boxes for px, py in points)


def test_sensitivity_chart(run, joint, tmp_path):
    limit_costs = charts("limit_costs")
    limit_costs.draw_sensitivity([run, joint], [tmp_path / "s.svg"], "latency")
    assert (tmp_path / "s.svg").read_text().startswith("<?xml")
    with pytest.raises(ConfigError, match="did you mean 'latency'"):
        limit_costs.draw_sensitivity([run], [tmp_path / "t.svg"], "latncy")
    with pytest.raises(ZooError, match="png, svg, pdf"):
        limit_costs.draw_sensitivity([run], [tmp_path / "t.gif"], "latency")


# The papers of a candidate ----------------------------------------------------------------------------------------


def test_the_spec_of_a_candidate_is_a_model(run, tmp_path):
    papers = write_papers(run, 3, tmp_path / "net.onnx", load_config())
    spec = load_run(run).spec(3)
    assert (papers.spec, papers.card) == (tmp_path / "net.yaml", tmp_path / "net.md")
    assert resolve(str(papers.spec), load_config()).spec == spec
    own = tmp_path / "zoo.yaml"
    own.write_text(json.dumps({"models": {"mine": read_yaml(papers.spec)}}))
    assert load_config(str(own)).model("mine").spec == spec


def test_the_yaml_in_the_card_is_a_zoo_yaml_and_its_command_repeats_the_search(run, tmp_path, monkeypatch, capsys):
    papers = write_papers(run, 2, tmp_path / "net.onnx", load_config())
    text = papers.card.read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2, "the model, and the space, which no zoo.yaml has"
    (tmp_path / "zoo.yaml").write_text("\n".join(blocks))
    assert load_config(str(tmp_path / "zoo.yaml")).model("my-network").spec == load_run(run).spec(2)
    (command,) = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    assert command == papers.command
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(command)
    assert program == "zoo"
    assert main([*arguments, "--no-plots", "--json"]) == 0
    capsys.readouterr()
    first, again = (json.loads((folder / "certificate.json").read_text()) for folder in (run, tmp_path / "again"))
    assert again["front_sha256"] == first["front_sha256"]
    assert again["query"] == first["query"]


def test_the_card_states_what_the_numbers_are(run, tmp_path):
    papers = write_papers(run, 1, tmp_path / "net.onnx", load_config(), "net.camvid")
    text, entry = papers.card.read_text(), load_run(run).front[0]
    latency = entry["devices"]["tx2@1300"]["latency_s"]
    for part in (
        f"{entry['params']:,}",
        f"{1e3 * latency['mean']:.4g} | {1e3 * latency['low']:.4g} to {1e3 * latency['high']:.4g}",
        f"{entry['miou']['mean']:.1f} % ({entry['miou']['low']:.1f} to {entry['miou']['high']:.1f}, 90% interval)",
        "Cityscapes val mIOU in percent, authors' training, 300 epochs",
        hashlib.sha256((run / "certificate.json").read_bytes()).hexdigest(),
        "Weights in `net.onnx`: net.camvid.",
        "rests on:",
    ):
        assert part in text, part


def test_a_folders_name_is_not_markdown(run, tmp_path):
    folder = copied(run, tmp_path, name="a`b\n# c <b>")
    papers = write_papers(folder, 1, tmp_path / "net.onnx", load_config())
    assert "<b>" not in papers.card.read_text()
    assert "\n# c" not in papers.card.read_text()
    assert spec_from_dict(read_yaml(papers.spec)) == load_run(run).spec(1)


def test_papers_do_not_overwrite_their_file(run, tmp_path):
    with pytest.raises(ConfigError, match=r"name it \.onnx"):
        write_papers(run, 1, tmp_path / "net.yaml", load_config())


# Commands ---------------------------------------------------------------------------------------------------------


def test_report_command(run, tmp_path, capsys):
    assert main(["report", f"{run}#2", "-o", str(tmp_path / "r.html"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == str(tmp_path / "r.html")
    assert document["rank"] == 2
    assert Path(document["path"]).stat().st_size == document["bytes"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["report", "{run}#999"], 1, "the rank must be from 1 to"),
        (["report", "{run}#x"], 2, "must be a rank"),
        (["report", "{run}", "-o", "r.pdf"], 2, "is an HTML page"),
        (["report", "nowhere"], 1, "not the folder of a finished search"),
        (["pareto", "{run}", "--x", "latncy"], 1, "did you mean 'latency'"),
        (["pareto", "{run}", "--x", "size", "--sensitivity", "latency"], 2, "give one of them"),
    ],
)
def test_wrong_commands_are_one_sentence(arguments, code, sentence, run, capsys):
    assert main([part.format(run=run) for part in arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1


def test_export_of_a_candidate_writes_its_papers(run, tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    smallest = min(load_run(run).front, key=lambda entry: entry["macs"])["rank"]
    path = tmp_path / "net.onnx"
    assert main(["export", f"{run}#{smallest}", "--size", "64x32", "-o", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {document[key] for key in ("path", "spec", "card")} == {
        str(tmp_path / f"net.{x}") for x in ("onnx", "yaml", "md")
    }
    assert main(["show", document["spec"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"] == as_dict(load_run(run).spec(smallest))


# In a browser -----------------------------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed")

WATCH = """
const seen = [];
addEventListener("error", (e) => seen.push(`error: ${e.message}`));
addEventListener("securitypolicyviolation", (e) => seen.push(`policy: ${e.violatedDirective} ${e.blockedURI}`));
for (const level of ["error", "warn"]) console[level] = (...all) => seen.push(`${level}: ${all.join(" ")}`);
"""
REPORT = """
addEventListener("load", () => {
  const out = { seen };
  try { drive(out); } catch (error) { seen.push(`drive: ${error.stack}`); }
  out.requests = performance.getEntriesByType("resource").map((r) => r.name);
  out.title = document.title;
  document.documentElement.dataset.result = JSON.stringify(out);
});
"""


def browse(page: str, tmp_path: Path, drive: str, *flags: str) -> dict:
    """Open a page in headless Chromium, run `drive(out)` in it, and return `out`."""
    style, script = html_report._read("report.css"), html_report._read("report.js")
    driven = f"{WATCH}{script}\nfunction drive(out) {{{drive}}}\n{REPORT}"
    assert page.count(script) == 1
    page = page.replace(script, driven).replace(policy(style, script), policy(style, driven))
    path = tmp_path / "driven.html"
    path.write_text(page, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ]
    command += [
        f"--user-data-dir={tmp_path / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        *flags,
        "--dump-dom",
    ]
    process = subprocess.run([*command, path.as_uri()], capture_output=True, timeout=90, check=False)
    found = [attrs["data-result"] for tag, attrs in Page(process.stdout.decode()).elements if "data-result" in attrs]
    assert found, process.stderr.decode()[-2000:]
    return json.loads(found[0])


USE = """
const $ = (id) => document.getElementById(id), all = (q) => [...document.querySelectorAll(q)];
const words = () => $("status").textContent;
out.charts = all("svg.chart").length;
out.first = words();
out.names = all("#charts svg.chart")[0].querySelectorAll("text.name").length;
out.limitLines = all("#charts line.limit").length;
const move = (q, value) => {
  const s = document.querySelector(q);
  s.value = value;
  s.dispatchEvent(new Event("input"));
};
move("[data-limit=max_latency_ms]", 500);
out.tightened = words();
out.asks = document.querySelector("#controls code").textContent;
out.rows = all("#rows tbody tr").length;
out.passing = all("#rows tbody tr").map((r) => Number(r.dataset.i) + 1);
const chart = all("#charts svg.chart")[0], box = chart.getBoundingClientRect();
const zoom = box.width / chart.viewBox.baseVal.width;
const [x, y] = chart.querySelector("path.dot").getAttribute("d").split("h")[0].slice(1).split(" ").map(Number);
const at = { clientX: box.left + x * zoom, clientY: box.top + y * zoom, bubbles: true };
chart.dispatchEvent(new PointerEvent("pointermove", at));
out.tip = $("tip").hidden ? null : $("tip").textContent;
chart.dispatchEvent(new PointerEvent("pointerleave"));
out.after = $("tip").hidden;
chart.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
out.keyed = $("tip").textContent;
document.querySelectorAll("#rows th button")[3].click();
out.sorted = all("#rows tbody tr td:nth-child(4)").map((c) => parseFloat(c.textContent));
out.sort = document.querySelectorAll("#rows th")[3].getAttribute("aria-sort");
all("#rows tbody tr")[0].click();
out.card = $("one").querySelector("h3").textContent;
document.querySelector("#controls button").click();
out.reset = words();
const pick = document.querySelector("#charts figure select:last-of-type");
pick.selectedIndex = 5; pick.dispatchEvent(new Event("change"));
out.axis = document.querySelector("#charts svg.chart").getAttribute("aria-label");
out.layers = all("#parts details tbody tr").length;
out.text = document.querySelector("main").textContent.includes("[object");
"""


@in_chromium
def test_the_page_works_in_chromium(run, data, tmp_path):
    out = browse(render(data), tmp_path, USE, "--window-size=1280,900")
    loaded = load_run(run)
    count = len(loaded.front)
    assert out["seen"] == []
    assert out["requests"] == []
    assert out["charts"] >= 5
    assert out["names"] >= 7
    assert out["limitLines"] >= 1
    assert out["first"].startswith(f"{count} on the complete front")

    # The slider at its middle: the front of a search with that limit.
    bound = float(re.search(r"--max-latency-ms (\S+)", out["asks"])[1])
    assert bound < LIMITS.max_latency_ms
    expected = exact(replace(ONE, limits=replace(LIMITS, max_latency_ms=bound))).specs
    assert 0 < len(expected) < count
    assert out["tightened"].startswith(f"{len(expected)} on the complete front")
    assert [loaded.spec(rank) for rank in out["passing"]] == list(expected)[: out["rows"]]

    assert "mIOU" in out["tip"]
    assert "alpha3" in out["tip"]
    assert "family espnet" in out["tip"]
    assert out["after"] is True
    assert out["keyed"].startswith("#")
    assert out["sorted"] == sorted(out["sorted"])
    assert out["sort"] == "ascending"
    assert "#" in out["card"]
    assert out["reset"] == out["first"]
    assert "MACs" in out["axis"]
    assert out["layers"] == len(lower(loaded.spec(1), SPACE.size).layers)
    assert out["text"] is False


SLIDE = """
const move = (name, value) => {
  const s = document.querySelector(`[data-limit=${name}]`);
  s.value = value;
  s.dispatchEvent(new Event("input"));
};
const answer = () => {
  const more = [...document.querySelectorAll("#rows > p button")].find((b) => b.textContent.startsWith("Show all"));
  if (more) more.click();
  const rows = [...document.querySelectorAll("#rows tbody tr")];
  const command = document.querySelector("#controls code");
  return { status: document.getElementById("status").textContent, command: command && command.textContent,
    front: rows.map((r) => [Number(r.dataset.spec), Number(r.dataset.setting)]) };
};
out.answers = [answer()];
for (const position of POSITIONS) {
  document.querySelector("#controls button").click();
  for (const [name, value] of Object.entries(position)) move(name, value);
  out.answers.push(answer());
}
"""
"""Puts the sliders to POSITIONS, one after the other, and reads the front and the command at each."""

SLIDERS = ("max_latency_ms", "max_power_w", "max_energy_mj", "max_params", "max_macs", "max_weight_mb", "max_memory_mb")


def positions(count: int, rng: np.random.Generator) -> list[dict[str, int]]:
    """One slider at a time, and then one to four at random places, mIOU among them."""
    out = [{name: 700} for name in SLIDERS] + [{"miou": 500}]
    while len(out) < count:
        names = rng.permutation([*SLIDERS, "miou"])[: rng.integers(1, 5)]
        out.append({str(name): int(rng.integers(100, 500 if name == "miou" else 1001)) for name in names})
    return out


SLOW = replace(ONE, limits=Limits(max_latency_ms=200.0, max_power_w=3.0), objectives=("miou", "latency", "size"))
SMALL = replace(ONE, limits=Limits(max_power_w=3.0), objectives=("miou", "size"))
COUNTED = ("max_macs", "max_memory_mb", "max_params", "max_weight_mb")
SEVERAL = replace(
    SMALL,
    space=union_of(
        [ONE.space, SearchSpace(Choices("espnetv2", {"scale": (0.5, 1.0), "depth4": (1, 7)}), ONE.space.size)]
    ),
    limits=Limits(max_latency_ms=700.0, max_power_w=3.0),
    objectives=("miou", "latency", "size"),
)
BOTH = replace(ONE, devices=(DeviceAt("tx2", 1300.0), DeviceAt("titanx")), limits=Limits(max_energy_mj=1600.0))


@in_chromium
@pytest.mark.parametrize("query", [SLOW, SMALL, BOTH, SEVERAL])
def test_the_page_and_a_search_agree_at_every_position_of_the_sliders(query, tmp_path):
    folder = written(tmp_path / "run", query)
    data = report_data(load_run(folder))
    assert data["pool"] is not None
    where = positions(16, np.random.default_rng(5))
    out = browse(render(data), tmp_path, SLIDE.replace("POSITIONS", json.dumps(where)), "--window-size=1280,900")
    assert out["seen"] == []
    known = Evaluator(query)
    sizes, first = set(), out["answers"][0]["front"]
    for position, shown in zip([{}, *where], out["answers"], strict=True):
        words = shlex.split(shown["command"] or "")
        typed = dict(pairwise(words))
        given = {name: float(typed[o]) for name in LIMIT_NAMES if (o := "--" + name.replace("_", "-")) in typed}
        assert given or not position or all(value >= 1000 for value in position.values())
        asked = replace(query, limits=Limits(**given) if position else query.limits)
        try:
            found = exact(asked, evaluator=known)
            rows = zip(found.columns.rows, found.columns.setting, strict=True)
            expected = [[int(row), _place(found, int(setting), query)] for row, setting in rows]
        except NothingFeasible:
            expected = []
        assert shown["front"] == expected, position
        sizes.add(len(expected))
    assert len(sizes) > 5
    if query is SLOW:
        assert any(row not in first for shown in out["answers"] for row in shown["front"])


def _place(found, setting, query):
    return settings_of(query).index(found.settings[setting])


NARROW = """
const root = document.documentElement;
const beyond = (edge) => [...document.querySelectorAll("body *")]
  .filter((e) => !e.closest(".scroll, svg, #tip") && e.getBoundingClientRect().right > edge + 1)
  .map((e) => `${e.tagName}.${e.className}`);
out.dark = matchMedia("(prefers-color-scheme: dark)").matches;
out.paper = getComputedStyle(document.body).backgroundColor;
out.over = beyond(root.clientWidth);
root.style.width = "360px";
dispatchEvent(new Event("resize"));
out.narrower = beyond(360);
for (const [name, value] of [["max_latency_ms", 700], ["max_params", 800]]) {
  const slider = document.querySelector(`[data-limit=${name}]`);
  slider.value = value;
  slider.dispatchEvent(new Event("input"));
}
out.asks = document.querySelector("#controls code").textContent;
out.rows = [...document.querySelectorAll("#rows tbody tr")].map((r) => Number(r.dataset.spec));
out.sliders = [...document.querySelectorAll("[data-limit]")].map((s) => s.dataset.limit).sort();
out.regret = document.getElementById("costs").textContent.includes("Regret");
"""


@in_chromium
def test_dark_narrow_and_joint_in_chromium(joint, joint_data, tmp_path):
    out = browse(
        render(joint_data), tmp_path, NARROW, "--window-size=500,900", "--blink-settings=preferredColorScheme=0"
    )
    assert out["seen"] == []
    assert out["dark"] is True
    assert out["paper"] == "rgb(20, 23, 26)"
    assert out["over"] == []
    assert out["narrower"] == []
    assert out["regret"] is True

    # Two limits on two devices: what a search within them finds.
    asked = {name: float(re.search(rf"--{name} (\S+)", out["asks"])[1]) for name in ("max-latency-ms", "max-params")}
    limits = Limits(max_latency_ms=asked["max-latency-ms"], max_params=int(asked["max-params"]))
    found = exact(replace(JOINT, limits=limits))
    assert 0 < len(found.specs) < len(load_run(joint).front)
    assert out["rows"] == [int(row) for row in found.columns.rows][:40]
    # A first limit on power would leave slower clocks open, which this search did not try.
    assert out["sliders"] == sorted([*COUNTED, "max_latency_ms", "miou"])


STUDY = """
const drawn = (name) => document.querySelector(`#charts path.${name}`).getAttribute("d").split("M").length - 1;
out.trained = drawn("trained");
out.expected = drawn("expected");
out.tried = drawn("tried");
out.legend = document.querySelector("#legend").textContent;
out.text = document.querySelector("main").textContent;
out.ways = [...document.querySelectorAll("nav a")].filter((a) => !a.hidden).map((a) => a.textContent);
"""


@in_chromium
def test_a_study_in_chromium(run, tmp_path):
    folder = studied(run, tmp_path)
    out = browse(render(report_data(load_run(folder))), tmp_path, STUDY)
    assert out["seen"] == []
    assert (out["trained"], out["expected"], out["tried"]) == (2, len(load_run(run).front), 3)
    assert "most by the short protocol" in out["legend"]
    assert "Fronts" in out["ways"] and "Shortlist" not in out["ways"], "no way to what is not there"
    said = ("Squares were measured", "expected from the trials", "scenes, 12 epochs", "#1 and #2")
    for part in (*said, "A study has no certificate"):
        assert part in out["text"]


@in_chromium
def test_a_hostile_run_stays_text_in_chromium(run, tmp_path):
    folder = hostile(run, tmp_path)
    write_report(folder, tmp_path / "page.html")
    drive = (
        "out.code = document.querySelector('#one code').textContent;"
        "out.images = document.images.length; out.scripts = document.scripts.length;"
        "out.alert = !!document.querySelector('[role=alert]');"
    )
    out = browse((tmp_path / "page.html").read_text(), tmp_path, drive)
    assert out["seen"] == []
    assert out["title"].startswith(folder.name)
    assert (out["images"], out["scripts"], out["alert"]) == (0, 2, True)
    assert shlex.split(out["code"]) == ["zoo", "show", f"{folder}#1", "--layers"]


# Colours ----------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance, as the contrast rules of WCAG 2.1 define it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_marks_have_contrast(dark):
    style = html_report._read("report.css")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(blocks) == 2
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[dark]))

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(colours[a]), luminance(colours[b])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for text in ("ink", "dim", "limit"):
        assert contrast(text, "paper") >= 4.5, text
    for mark in ("front", "trained", "limit", "mark"):
        assert contrast(mark, "paper") >= 3.0, mark


def test_the_template_ships_with_the_package():
    folder = Path(html_report.__file__).parent
    assert {path.name for path in (folder / "templates").iterdir()} == {"report.html", "report.css", "report.js"}


def test_a_run_without_miou_is_drawn_by_what_it_knows(tmp_path, capsys):
    run = tmp_path / "fpenet"
    words = ["--space", "fpenet", "--device", "tx2", "--objective", "latency,size"]
    assert main(["search", *words, "--clock-mhz", "1300", "-o", str(run)]) == 0
    assert (run / "pareto.png").stat().st_size > 5_000 and (run / "pareto.svg").exists()
    assert {entry["miou_source"] for entry in json.loads((run / "front.json").read_text())["front"]} == {"unknown"}
    capsys.readouterr()
    assert main(["pareto", str(run), "--x", "latency"]) == 1
    assert main(["pareto", str(run), "--x", "macs", "--y", "latency", "-o", str(tmp_path / "m.png")]) == 0
    assert main(["report", str(run)]) == 1
    said = capsys.readouterr().err
    assert said.count("its mIOU is unknown") == 2 and "Traceback" not in said
    assert main(["verify", str(run)]) == 0
