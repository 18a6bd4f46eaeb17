"""The command line: what it prints, what it exits with, what it does not import."""

import json
import subprocess
import sys

import pytest

from zoo.cli import commands, main, parser

pytestmark = pytest.mark.usefixtures("shared_tables")

HEAVY = ("torch", "ray", "optuna", "onnx", "onnxruntime", "matplotlib", "fvcore", "ptflops", "plotly")


def run(capsys, *argv):
    code = main(list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def document(capsys, *argv):
    code, out, _ = run(capsys, *argv, "--json")
    assert code == 0
    return json.loads(out)


def test_light_commands_import_nothing_heavy(tmp_path):
    """In one process, whose last line would name what any of them had imported."""
    commands_tried = (["list"], ["show", "espnet"], ["schema"], ["list", "--json"], ["--help"])
    code = (
        "import sys\nfrom zoo.cli import main\n"
        f"for argv in {commands_tried!r}:\n"
        "    try: main(argv)\n    except SystemExit: pass\n"
        f"    heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    assert not heavy, f'{argv} imports {heavy}'\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert process.returncode == 0, process.stderr
    assert not process.stderr
    assert process.stdout


def test_a_search_and_its_verification_import_no_torch(tmp_path):
    code = (
        "import sys\nfrom zoo.cli import main\n"
        "assert main(['search', '--space', 'tiny', '-o', 'run', '--no-plots']) == 0\n"
        "assert main(['verify', 'run']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert process.stderr.strip() == "[]"


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.name)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command.name, "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert "--json" in out
    assert "example: " in out
    assert command.example.startswith(f"zoo {command.name}")


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.name)
def test_every_example_parses(command):
    import shlex

    words = shlex.split(command.example.partition(" > ")[0].partition(" && ")[0])[1:]
    assert parser().parse_args(words).run is command.run


def test_every_command_is_in_the_reference():
    from pathlib import Path

    page = (Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert [c.name for c in commands() if f"## zoo {c.name}\n" not in page] == []


def test_list_has_the_keys_of_the_contract(capsys):
    rows = document(capsys, "list")
    assert {"name", "family", "spec", "params", "weights"} <= rows[0].keys()
    by_name = {row["name"]: row for row in rows}
    assert by_name["espnet-c"]["spec"] == by_name["espnet-c-8"]["spec"]
    assert by_name["espnet-c"]["params"] == 349_449
    weights = {w["tag"]: w for w in by_name["espnet-c-3"]["weights"]}
    assert weights["cityscapes"]["miou"] == 49.0
    assert {"tag", "miou", "dataset", "bundled"} <= weights["cityscapes"].keys()


def test_show_has_the_keys_of_the_contract(capsys):
    shown = document(capsys, "show", "espnet-c", "--set", "k=4", "--set", "alpha3=5", "--layers")
    assert shown["spec"]["k"] == 4
    assert shown["params"] == sum(layer["params"] for layer in shown["layers"])
    assert shown["macs"] == sum(layer["macs"] for layer in shown["layers"])
    assert {"name", "size", "weight_bytes", "peak_activation_bytes"} <= shown.keys()
    assert {"name", "op", "in_shape", "out_shape", "params", "macs"} <= shown["layers"][0].keys()


def test_show_puts_several_side_by_side(capsys):
    shown = document(capsys, "show", "espnet-c", "espnet", "--size", "480x360")
    assert [one["params"] for one in shown] == [349_449, 364_569]


def test_the_layer_table_sums_to_its_total(capsys):
    code, out, _ = run(capsys, "show", "espnet-a", "--layers", "--size", "64x64")
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("level", "classifier", "total"))]
    counts = [int(row[-2].replace(",", "")) for row in rows]
    assert sum(counts[:-1]) == counts[-1]


WRONG = {
    "a misspelt model": (["show", "espnet-cc"], "did you mean 'espnet-c"),
    "a misspelt key": (["show", "espnet-c", "--set", "alfa2=3"], "did you mean 'alpha2'"),
    "no value": (["show", "espnet-c", "--set", "k"], "KEY=VALUE"),
    "k out of range": (["show", "espnet-c", "--set", "k=9"], "from 1 to 8"),
    "k wider than the width": (["show", "espnet-c", "--set", "widths=4,4,4"], "k must be at most the width"),
    "a negative alpha": (["show", "espnet-c", "--set", "alpha2=-1"], "from 0 to 64"),
    "an absurd alpha": (["show", "espnet-c", "--set", "alpha3=100000"], "from 0 to 64"),
    "text for a number": (["show", "espnet-c", "--set", "alpha3=many"], "alpha3"),
    "a boolean for a number": (["show", "espnet-c", "--set", "alpha3=true"], "alpha3"),
    "a size off the grid": (["show", "espnet", "--size", "1023x512"], "use 1024x512"),
    "a misspelt device": (["search", "--device", "tx3"], "tx2"),
    "a misspelt search": (["search", "defalt"], "did you mean 'default'"),
    "a misspelt space": (["search", "--space", "tinny"], "did you mean 'tiny'"),
    "a misspelt objective": (["search", "--space", "tiny", "--objective", "miou,latencies"], "did you mean 'latency'"),
    "a clock out of range": (["search", "--space", "tiny", "--device", "tx2@5000"], "MHz"),
    "no clock": (["search", "--space", "tiny", "--device", "tx2@fast"], "MHz"),
    "no run": (["verify", "nowhere"], "not the folder of a finished search"),
    "no rank": (["show", "nowhere#1"], "not the folder of a finished search"),
    "no chart": (["pareto", "nowhere"], "not the folder of a finished search"),
    "no configuration": (["list", "--config", "nowhere.yaml"], "cannot be read"),
}


@pytest.mark.parametrize(("argv", "message"), WRONG.values(), ids=WRONG)
def test_bad_input_is_one_sentence(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *argv)
    assert code == 1
    assert out == ""
    assert err.startswith("zoo: ")
    assert err.count("\n") == 1
    assert message in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["show", "espnet", "--size", "big"],
        ["search", "--max-params", "-3"],
        ["search", "--confidence", "2"],
    ],
)
def test_wrong_usage_exits_with_2(argv):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2


def test_show_without_a_model_is_usage(capsys):
    code, _, err = run(capsys, "show")
    assert code == 2
    assert "MODEL" in err


def test_nothing_feasible_exits_with_3_and_explains(capsys, tmp_path):
    argv = ["search", "--space", "tiny", "--max-params", "1000", "-o", str(tmp_path / "run"), "--json"]
    code, out, err = run(capsys, *argv)
    assert code == 3
    report = json.loads(out)
    assert report["feasible"] == 0
    assert report["binding"] == ["max_params"]
    assert report["front"] == []
    assert report["limits"][0]["smallest_that_helps"] > 1000
    assert "would help" in err
    assert not (tmp_path / "run" / "certificate.json").exists()


def test_a_search_from_end_to_end(capsys, tmp_path):
    folder = tmp_path / "run"
    found = document(capsys, "search", "--space", "tiny", "--max-params", "400k", "-o", str(folder))
    assert {"run", "enumerated", "feasible", "front", "complete", "chosen"} <= found.keys()
    assert found["complete"] is True
    first = found["front"][0]
    assert {
        "rank",
        "spec",
        "miou",
        "params",
        "weight_bytes",
        "macs",
        "latency_s",
        "power_w",
        "energy_j",
    } <= first.keys()
    assert first["latency_s"]["low"] < first["latency_s"]["mean"] < first["latency_s"]["high"]
    for name in ("front.csv", "front.json", "certificate.json", "pareto.png", "pareto.svg"):
        assert (folder / name).stat().st_size > 100
    assert document(capsys, "verify", str(folder)) == {"ok": True, "checked": found["enumerated"]}
    shown = document(capsys, "show", f"{folder}#1")
    assert shown["params"] == first["params"]
    drawn = document(capsys, "pareto", str(folder), "--x", "energy", "-o", str(tmp_path / "energy.pdf"))
    assert (tmp_path / "energy.pdf").read_bytes().startswith(b"%PDF")
    assert drawn["path"].endswith("energy.pdf")


def test_a_tampered_run_exits_with_3(capsys, tmp_path):
    folder = tmp_path / "run"
    document(capsys, "search", "--space", "tiny", "-o", str(folder), "--no-plots")
    path = folder / "front.json"
    path.write_text(path.read_text().replace('"k": 4', '"k": 5'))
    code, out, err = run(capsys, "verify", str(folder), "--json")
    assert code == 3
    assert json.loads(out)["ok"] is False
    assert "front.json: front" in err


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"query": {}}'])
def test_a_damaged_run_is_one_sentence(damage, capsys, tmp_path):
    folder = tmp_path / "run"
    document(capsys, "search", "--space", "tiny", "-o", str(folder), "--no-plots")
    (folder / "certificate.json").write_text(damage)
    code, _, err = run(capsys, "verify", str(folder))
    assert code in (1, 3)
    assert err.startswith("zoo: ")
    assert err.count("\n") == 1


def test_an_output_folder_that_is_a_file_is_one_sentence(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "search", "--space", "tiny", "-o", str(tmp_path / "file" / "run"))
    assert code == 1
    assert "file" in err


def test_schema_accepts_what_ships():
    jsonschema = pytest.importorskip("jsonschema")
    from zoo.config import schema, shipped_file
    from zoo.yaml_strict import read_yaml

    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(read_yaml(shipped_file()))
    assert list(validator.iter_errors({"models": {"x": {"family": "espnet", "alfa2": 3}}}))
    assert list(validator.iter_errors({"searches": {"x": {"limits": {"max_lat": 3}}}}))
