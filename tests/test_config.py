"""zoo.yaml and what is said on the command line: read strictly, every mistake named with its place."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoo
from search.model_ref import resolve, split_tag
from zoo.config import Config, Limits, load_config, override, schema, shipped_file, user_file
from zoo.errors import ConfigError, SpecError, ZooError
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.registry import FAMILIES, lower, spec_from_dict
from zoo.specs import Spec, _checks, as_dict, field_types, mismatch
from zoo.yaml_strict import MAX_VALUES, parse_yaml, read_yaml

# YAML without its traps

PLAIN = {
    "a: 3": 3,
    "a: -0.5": -0.5,
    "a: 1_000": 1000,
    "a: 1.0e+12": 1e12,
    "a: true": True,
    "a: 'yes'": "yes",
    'a: "1e12"': "1e12",
    "a: ~": None,
    "a:": None,
    "a: 3x3": "3x3",
    "a: [1, {b: 2}]": [1, {"b": 2}],
    "a: &x [1]": [1],
}


@pytest.mark.parametrize("text", PLAIN)
def test_plain_values(text: str) -> None:
    assert parse_yaml(text, "f") == {"a": PLAIN[text]}


TRAPS = {
    "m: {a: 1e12}": "f: m.a: YAML reads 1e12 as text; write a number with a point",
    "m: {a: 1.5E3}": "f: m.a: YAML reads 1.5E3 as text",
    "m: [0, yes]": "f: m[1]: YAML reads yes as a boolean; write true or false, or quote it",
    "m: {a: [on]}": "f: m.a[0]: YAML reads on as a boolean",
    "m: No": "f: m: YAML reads No as a boolean",
    "a: 010": "f: a: YAML reads 010 in another base; write a decimal number",
    "a: 0x1F": "f: a: YAML reads 0x1F in another base",
    "a: 1:30": "f: a: YAML reads 1:30 in another base",
    "a: 2020-01-01": "f: a: YAML reads 2020-01-01 as timestamp; quote it",
    "a: .inf": "f: a: .inf is not a finite number",
    "a: .nan": "f: a: .nan is not a finite number",
    "a: 1.0e+999": "f: a: 1.0e+999 is not a finite number",
    "a: !!int x": "f: a: x is not a finite number",
    "m: {a: 1, b: 2, a: 3}": "f: m.a: duplicate key on line 1; keep one",
    "a: 1\nb: 2\na: 3": "f: a: duplicate key on line 3; keep one",
    "1: x\n'1': y": "f: 1: duplicate key on line 2",
    "a: !!binary aGk=": "f: a: YAML reads aGk= as binary",
    "a: &x [*x]": "f: a[0]: an alias must not contain itself",
    "? {a: 1}\n: b": "f, line 1: a key must be a plain word",
    "a: [1": "f, line 1: not valid YAML",
    "a: 1\n---\nb: 2": "f, line 2: not valid YAML",
    "\ta: 1": "f, line 1: not valid YAML",
    "[" * 1000 + "]" * 1000: "f: nested too deeply",
}


@pytest.mark.parametrize("text", TRAPS, ids=lambda text: text[:24])
def test_trap(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_yaml(text, "f")
    assert str(error.value).startswith(TRAPS[text])


def test_a_tag_runs_nothing(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    assert parse_yaml(f"a: !!python/object/apply:os.system ['touch {proof}']", "f") == {"a": [f"touch {proof}"]}
    assert not proof.exists()


def test_aliases_of_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(ConfigError, match=f"more than {MAX_VALUES:,} values"):
        parse_yaml("\n".join(lines), "f")


LIKE_A_NUMBER = re.compile(r"\d[eE][-+]?\d")
"""PyYAML writes such text without quotes, and we refuse to guess what it means."""

# YAML 1.1 folds the line breaks of Unicode inside plain text, PyYAML on both sides, so they do not come back.
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=12)

PLAIN_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
    | WORDS.filter(lambda text: not LIKE_A_NUMBER.search(text))
    | st.sampled_from(["yes", "010", "0x1F", "1:30", "~", "null", "2020-01-01", ".inf", "<<", "=", "true"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault
@given(PLAIN_VALUES)
def test_what_yaml_writes_is_read_back(value: Any) -> None:
    assert parse_yaml(yaml.safe_dump(value, allow_unicode=True), "f") == value


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file or directory; check the path"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("a: ü".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot be read: it is not UTF-8 text"):
        read_yaml(tmp_path / "latin.yaml")


# Sections


def configured(folder: Path, text: str) -> Config:
    """The configuration with a user's own file."""
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(str(path))


GOOD = (
    "",
    "models: {mine: {family: espnet, variant: A, image_path: none, k: 4, widths: [8, 32, 64]}}",
    "models: {mine: {alias: espnet-8}, yours: {alias: mine}}",
    "models: {v2: {family: espnetv2, scale: 1.5}}",
    "spaces: {s: {family: espnet, choices: {k: [2, 3], widths: [[16, 64, 128]], residual: [true, false]}}}",
    "spaces: {s: {choices: {variant: [C]}}}",
    "searches: {s: {space: tiny, devices: [tx2, titanx], limits: {max_latency_ms: 150, max_params: 400000}}}",
    "searches: {s: {clock_mhz: 828.5, confidence: 0.8, objectives: [miou, energy], width: 512, height: 256}}",
    "devices: {tx2: {clock_mhz: 828}, gtx960m: }",
)

BAD = {
    "model: {}": "own.yaml: model: unknown key (did you mean 'models'?)",
    "- 1": "own.yaml: must be a mapping with the keys models, devices, spaces, searches",
    "models: [m]": "own.yaml: models: must be a mapping from names to entries",
    "models: {m: 3}": "own.yaml: models.m: must be a mapping, but is 3",
    "models: {m: {}}": "own.yaml: models.m: the key 'family' is missing",
    "models: {m: {family: espnt}}": "own.yaml: models.m.family: family 'espnt' is unknown; did you mean 'espnet'?",
    "models: {m: {family: [1]}}": "own.yaml: models.m.family: family '[1]' is unknown",
    "models: {m: {family: espnet, alfa2: 3}}": "own.yaml: models.m.alfa2: unknown key (did you mean 'alpha2'?)",
    "models: {m: {family: espnet, k: 9}}": "own.yaml: models.m: espnet.k: must be an integer from 1 to 8, but is 9",
    "models: {m: {family: espnet, k: true}}": "own.yaml: models.m: espnet.k: must be an integer from 1 to 8, but",
    "models: {m: {family: espnet, k: '4'}}": "own.yaml: models.m: espnet.k: must be an integer from 1 to 8, but is '4'",
    "models: {m: {family: espnet, alpha3: -1}}": "own.yaml: models.m: espnet.alpha3: must be an integer from 0 to 64",
    "models: {m: {family: espnet, residual: 1}}": "own.yaml: models.m: espnet.residual: must be of type bool, but is 1",
    "models: {m: {family: espnet, widths: [1, 2]}}": "own.yaml: models.m: espnet.widths: must be 3 values, but is",
    "models: {m: {family: espnet, variant: D}}": "own.yaml: models.m: espnet.variant: must be one of A, B, C, ESPNet",
    "models: {m: {alias: [1]}}": "own.yaml: models.m.alias: must name another model, but is [1]",
    "models: {m: {alias: espnet, k: 3}}": "own.yaml: models.m: an alias has no fields of its own, but k is given",
    "spaces: {s: {choices: {}}}": "own.yaml: spaces.s.choices: must map fields to lists of values",
    "spaces: {s: {family: espnetv2}}": "own.yaml: spaces.s.choices: must map fields to lists of values",
    "spaces: {s: {choices: {scale: [0.5]}}}": "own.yaml: spaces.s.choices.scale: unknown key",
    "spaces: {s: {choice: {k: [1]}}}": "own.yaml: spaces.s.choice: unknown key (did you mean 'choices'?)",
    "spaces: {s: {choices: {kk: [3]}}}": "own.yaml: spaces.s.choices.kk: unknown key (did you mean 'k'?)",
    "spaces: {s: {choices: {k: 3}}}": "own.yaml: spaces.s.choices.k: must be a list of values, but is 3",
    "spaces: {s: {choices: {k: []}}}": "own.yaml: spaces.s.choices.k: must be a list of values, but is []",
    "spaces: {s: {choices: {k: [4, 4]}}}": "own.yaml: spaces.s.choices.k[1]: 4 is listed twice; keep one",
    "spaces: {s: {choices: {k: [4, 9]}}}": "own.yaml: spaces.s.choices.k[1]: must be an integer from 1 to 8, but is 9",
    "spaces: {s: {family: foo, choices: {k: [4]}}}": "own.yaml: spaces.s.family: family 'foo' is unknown",
    "spaces: {s: {family: [1], choices: {k: [4]}}}": "own.yaml: spaces.s.family: family '[1]' is unknown",
    "searches: {s: {devises: [tx2]}}": "own.yaml: searches.s.devises: unknown key (did you mean 'devices'?)",
    "searches: {s: {devices: tx2}}": "own.yaml: searches.s.devices: must be a list of values, but is 'tx2'",
    "searches: {s: {limits: 3}}": "own.yaml: searches.s.limits: must be a mapping, but is 3",
    "searches: {s: {limits: {max_latency: 3}}}": "own.yaml: searches.s.limits.max_latency: unknown key (did you mean",
    "searches: {s: {limits: {max_params: 2.5}}}": "own.yaml: searches.s.limits.max_params: must be of type int",
    "devices: {tx2: {clock: 828}}": "own.yaml: devices.tx2.clock: unknown key (did you mean 'clock_mhz'?)",
    "devices: {tx2: {clock_mhz: fast}}": "own.yaml: devices.tx2.clock_mhz: must be of type float, but is 'fast'",
}

BEYOND_A_SCHEMA = {
    "models: {m: {alias: espnet-9}}": "own.yaml: models.m.alias: must name another model, but is 'espnet-9'; did you",
    "models: {a: {alias: b}, b: {alias: a}}": "own.yaml: models.b.alias: 'a' leads back to itself",
    "models: {m: {family: espnet, k: 8, widths: [8, 4, 8]}}": "own.yaml: models.m: espnet: k must be at most the width",
    "models: {m: {family: espnet, variant: A}}": "own.yaml: models.m: espnet: variant A has no image path",
    "searches: {s: {limits: {max_params: -1}}}": "own.yaml: searches.s.limits.max_params: a limit must be a positive",
}


@pytest.mark.parametrize("text", [*BAD, *BEYOND_A_SCHEMA])
def test_mistake_is_named_with_its_place(text: str, tmp_path: Path) -> None:
    with pytest.raises(ZooError) as error:
        configured(tmp_path, text)
    message = str(error.value).replace(f"{tmp_path}/", "")
    assert message.startswith((BAD | BEYOND_A_SCHEMA)[text])
    assert "\n" not in message


@pytest.mark.parametrize("text", GOOD)
def test_good_file(text: str, tmp_path: Path) -> None:
    config = configured(tmp_path, text)
    for section, entries in (parse_yaml(text, "f") or {}).items():
        assert set(entries) <= set(getattr(config, section))


# The schema admits what the reader admits


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    document = schema()
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def test_schema_admits_the_shipped_file(validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(read_yaml(shipped_file()))


@pytest.mark.parametrize("text", [text for text in GOOD if text])
def test_schema_admits(text: str, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(parse_yaml(text, "f"))


@pytest.mark.parametrize("text", BAD)
def test_schema_refuses(text: str, validator: jsonschema.Draft202012Validator) -> None:
    assert not validator.is_valid(parse_yaml(text, "f"))


# The shipped file


def test_every_shipped_model_lowers() -> None:
    for name, entry in load_config().models.items():
        assert lower(entry.spec).params > 0, name


def test_names_that_others_rely_on() -> None:
    config = load_config()
    named = {
        "espnet-a": ESPNetSpec(variant="A", image_path="none", alpha3=3),
        "espnet-b": ESPNetSpec(variant="B", image_path="none", alpha3=3),
        "espnet-wide": ESPNetSpec(variant="ESPNet", widths=(16, 128, 256), k=4, classes=8),
        **{f"espnet-c-{a}": ESPNetSpec(variant="C", alpha3=a) for a in (3, 5, 8)},
        **{f"espnet-{a}": ESPNetSpec(variant="ESPNet", alpha3=a) for a in (3, 5, 8)},
        **{f"espnetv2-{s}": ESPNetv2Spec(scale=s) for s in (0.5, 1.0, 1.5, 2.0)},
    }
    for name, spec in named.items():
        assert config.model(name).spec == spec, name
    others = ("mobilenet", "shufflenet", "inception", "resnext", "resnet")
    assert {getattr(config.model(f"espnet-c-{block}").spec, "block", None) for block in others} == set(others)
    for name in ("enet", "erfnet", "segnet", "sqnet", "fcn-8s", "deeplab-v2", "pspnet"):
        assert config.model(name).spec.family in FAMILIES
    assert {"tx2", "gtx960m", "titanx"} <= set(config.devices)


def test_aliases() -> None:
    config = load_config()
    assert config.model("espnet").alias_of == "espnet-8"
    assert config.model("espnet-c").spec == config.model("espnet-c-8").spec
    assert config.aliases("espnet-c-8") == ("espnet-c",)


def test_default_space_has_100_000_specs() -> None:
    from search.space import space_of

    space = space_of(load_config().space("default"), (512, 1024))
    assert sum(len(rows) for rows in space.chunks()) >= 100_000


def test_named_searches_name_what_exists() -> None:
    config = load_config()
    for search in config.searches.values():
        assert search.space in config.spaces
        assert set(search.devices) <= set(config.devices)


# A user's own file


def test_own_file_adds_and_overrides_by_name(tmp_path: Path) -> None:
    shipped = load_config()
    text = "models: {mine: {family: espnet, alpha3: 1}, espnet-8: {family: espnet, variant: ESPNet, alpha3: 9}}"
    config = configured(tmp_path, text)
    assert config.model("mine").spec == ESPNetSpec(alpha3=1)
    assert config.model("espnet-8").spec == config.model("espnet").spec == ESPNetSpec(variant="ESPNet", alpha3=9)
    assert set(config.models) == set(shipped.models) | {"mine"}
    assert config.spaces == shipped.spaces and config.searches == shipped.searches


def test_an_override_replaces_the_whole_entry(tmp_path: Path) -> None:
    config = configured(tmp_path, "searches: {robot-2w: {space: tiny}}")
    assert config.search("robot-2w").limits == Limits()


def test_which_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert user_file() is None
    (tmp_path / "zoo.yaml").write_text("models: {here: {family: espnet}}")
    assert user_file() == Path("zoo.yaml")
    assert "here" in load_config().models
    (tmp_path / "env.yaml").write_text("models: {there: {family: espnet}}")
    monkeypatch.setenv("ZOO_CONFIG", "env.yaml")
    assert {"here", "there"} & set(load_config().models) == {"there"}
    (tmp_path / "given.yaml").write_text("models: {given: {family: espnet}}")
    assert {"here", "there", "given"} & set(load_config("given.yaml").models) == {"given"}


def test_the_repositorys_own_file_is_not_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shipped_file().parent)
    assert user_file() is None


def test_missing_own_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_config(str(tmp_path / "none.yaml"))


# MODEL and --set


def test_model_with_and_without_a_tag() -> None:
    config = load_config()
    plain, tagged = resolve("espnet-c", config), resolve("espnet-c.cityscapes", config)
    assert (plain.name, plain.canonical, plain.tag) == ("espnet-c", "espnet-c-8", None)
    assert (tagged.name, tagged.canonical, tagged.tag) == ("espnet-c", "espnet-c-8", "cityscapes")
    assert plain.spec == tagged.spec == ESPNetSpec(alpha3=8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("espnetv2-1.0", ("espnetv2-1.0", None)),
        ("espnetv2-1.0.pascal-256x256", ("espnetv2-1.0", "pascal-256x256")),
        ("espnet-c-3.cityscapes", ("espnet-c-3", "cityscapes")),
        ("espnet.", ("espnet", None)),
        ("espnetx", None),
        ("", None),
    ],
)
def test_split_tag(text: str, expected: tuple[str, str | None] | None) -> None:
    assert split_tag(text, load_config().models) == expected


def test_misspelt_model() -> None:
    with pytest.raises(ConfigError, match="model 'espnt' is unknown; did you mean 'espnet'"):
        resolve("espnt", load_config())


SPECS = (
    ESPNetSpec(),
    ESPNetSpec(variant="ESPNet", k=3, widths=(8, 32, 64), decoder_sees_image=True, reduce="3x3", hff=False),
    ESPNetv2Spec(scale=0.5),
    ESPNetv2Spec(widths=(16, 48, 96, 160), depth3=1),
)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.family)
def test_a_spec_survives_a_file(spec: Spec, tmp_path: Path) -> None:
    assert spec_from_dict(as_dict(spec)) == spec
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(as_dict(spec)))
    found = resolve(str(path), load_config())
    assert (found.spec, found.name) == (spec, "spec")


def test_spec_file_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("family: espnet\nalpha33: 4\n")
    with pytest.raises(SpecError, match=r"spec\.yaml\.alpha33: unknown key \(did you mean 'alpha3'\?\)"):
        resolve(str(path), load_config())
    path.write_text("[1, 2]")
    with pytest.raises(ConfigError, match="must be a mapping with the fields of a spec"):
        resolve(str(path), load_config())
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve(str(tmp_path / "none.yaml"), load_config())


def test_settings() -> None:
    found = resolve("espnet-c", load_config(), ["k=4", "widths=8,32,64", "hff=false", "reduce=3x3"])
    assert found.spec == ESPNetSpec(k=4, widths=(8, 32, 64), hff=False, reduce="3x3")
    assert override(ESPNetSpec(), ["widths=[8, 32, 64]"]) == ESPNetSpec(widths=(8, 32, 64))
    assert override(ESPNetv2Spec(), ["scale=0.5"]) == ESPNetv2Spec(scale=0.5)
    assert override(ESPNetSpec(), []) == ESPNetSpec()


WRONG_SETTINGS = {
    "alfa2=3": "did you mean 'alpha2'",
    "k": "must be KEY=VALUE",
    "=4": "must be KEY=VALUE",
    "k=": "espnet.k: must be an integer from 1 to 8, but is None",
    "k=9": "espnet.k: must be an integer from 1 to 8, but is 9",
    "k=four": "espnet.k: must be an integer from 1 to 8, but is 'four'",
    "hff=off": "--set hff: YAML reads off as a boolean",
    "alpha3=1e1": "--set alpha3: YAML reads 1e1 as text",
    "widths=8,32": "espnet.widths: must be 3 values, but is (8, 32)",
    "widths=8,,32": "--set widths, line 1: not valid YAML",
    "variant=A": "variant A has no image path",
}


@pytest.mark.parametrize("setting", WRONG_SETTINGS)
def test_wrong_setting(setting: str) -> None:
    with pytest.raises(ZooError) as error:
        override(ESPNetSpec(), [setting])
    assert WRONG_SETTINGS[setting] in str(error.value)


def test_settings_apply_together() -> None:
    """Each alone would describe no network."""
    assert override(ESPNetSpec(), ["variant=A", "image_path=none"]) == replace(
        ESPNetSpec(), variant="A", image_path="none"
    )


def test_spec_in_python() -> None:
    assert zoo.spec("espnet-c", k=4, alpha3=5) == ESPNetSpec(k=4, alpha3=5)
    assert zoo.spec("espnet", widths=[8, 32, 64]).widths == (8, 32, 64)  # type: ignore[attr-defined]
    with pytest.raises(SpecError, match="did you mean 'alpha2'"):
        zoo.spec("espnet", alfa2=3)
    with pytest.raises(ConfigError, match="did you mean 'espnet'"):
        zoo.spec("espnett")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("width: 0", "searches.mine.width: must be from 1"),
        ("clock_mhz: -1", "searches.mine.clock_mhz: must be positive"),
        ("confidence: 2", "searches.mine.confidence: must be between 0 and 1"),
        ("space: defalt", "searches.mine.space: 'defalt' is unknown; did you mean 'default'?"),
        ("limits: {max_power_w: -2}", "searches.mine.limits.max_power_w: a limit must be a positive number"),
        ("limits: {max_power: 2}", "searches.mine.limits.max_power: unknown key"),
    ],
)
def test_a_named_search_is_checked_when_it_is_read(entry, message, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(f"searches:\n  mine: {{{entry}}}\n")
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(str(path))


@given(st.sampled_from(sorted(FAMILIES)), st.data())
def test_what_a_field_takes_is_what_no_mismatch_is_said_of(name, data):
    """The quick check of whole spaces and the one that explains agree."""
    spec = FAMILIES[name].spec
    field, fits = data.draw(st.sampled_from(_checks(spec)))
    scalars = st.one_of(
        st.integers(-2, 5000),
        st.booleans(),
        st.floats(0, 10, allow_subnormal=False),
        st.sampled_from(["C", "esp", "1.0", ""]),
    )
    value = data.draw(st.one_of(scalars, st.none(), st.lists(scalars, max_size=4), st.lists(scalars).map(tuple)))
    assert fits(value) is (mismatch(value, field_types(spec)[field]) is None)
