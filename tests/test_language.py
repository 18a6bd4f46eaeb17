"""Language models: what they may see, how large they are, what they learn, and files that are not trusted."""

import json
import math
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from zoo.cli import main  # noqa: E402
from zoo.errors import ZooError  # noqa: E402
from zoo.language.cells import GATES, PyramidalLayer, PyramidalTransform  # noqa: E402
from zoo.language.corpus import corpus_of  # noqa: E402
from zoo.language.files import load_model, save_model  # noqa: E402
from zoo.language.model import KINDS, LanguageModel, LanguageSpec, built, count, lstm_like  # noqa: E402
from zoo.language.trainer import CHUNK, TextRecipe, score, train  # noqa: E402

SPECS = [
    LanguageSpec(vocabulary=30, embedding=32, hidden=32),
    LanguageSpec(vocabulary=200, embedding=64, hidden=128, layers=1, levels=4, groups=2),
    LanguageSpec(vocabulary=5000, embedding=64, hidden=64, layers=3, levels=1, groups=8),
]


def periodic(n=7, length=2000):
    return "".join(chr(97 + i % n) for i in range(length))


@pytest.mark.parametrize("spec", [*SPECS, *map(lstm_like, SPECS)])
def test_parameters_are_those_of_the_module(spec):
    assert count(LanguageModel(spec)) == spec.params


@pytest.mark.parametrize("spec", SPECS)
def test_an_lstm_of_equal_size(spec):
    other = lstm_like(spec)
    assert other.kind == "lstm" and other.layers == spec.layers and other.vocabulary == spec.vocabulary
    assert abs(other.params / spec.params - 1) <= 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_does_not_depend_on_later_tokens(kind):
    spec = LanguageSpec(kind=kind, vocabulary=30, embedding=32, hidden=32)
    model = built(spec, 0).eval()
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 30, (12, 3)))
    changed = tokens.clone()
    changed[8:] = (changed[8:] + 1) % 30
    before, after = (model(x, model.begin(3))[0] for x in (tokens, changed))
    assert torch.equal(before[:8], after[:8]) and not torch.allclose(before[8:], after[8:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_in_pieces_is_the_whole_text(kind):
    model = built(LanguageSpec(kind=kind, vocabulary=9, embedding=16, hidden=16), 1).eval()
    tokens = torch.arange(20)[:, None] % 9
    whole, _ = model(tokens, model.begin(1))
    first, states = model(tokens[:13], model.begin(1))
    second, _ = model(tokens[13:], states)
    torch.testing.assert_close(torch.cat((first, second)), whole)


def test_a_layer_is_the_equations_of_an_lstm():
    """One level and one group are plain linear transformations: torch's own cell with these weights agrees."""
    torch.manual_seed(0)
    layer, cell = PyramidalLayer(6, 4, 1, 1), torch.nn.LSTMCell(6, 4)
    order = [2, 0, 1, 3]  # torch has input, forget, candidate, output; ours are forget, candidate, input, output
    inputs = layer.pyramid.linears[0]
    with torch.no_grad():
        cell.weight_ih.copy_(inputs.weight.reshape(GATES, 4, 6)[order].reshape(-1, 6))
        cell.weight_hh.copy_(layer.context.weight[0].T.reshape(GATES, 4, 4)[order].reshape(-1, 4))
        cell.bias_ih.zero_(), cell.bias_hh.zero_()
    x, state = torch.randn(5, 2, 6), (torch.zeros(2, 4), torch.zeros(2, 4))
    found, _ = layer(x, state)
    for step in range(5):
        state = cell(x[step], state)
        torch.testing.assert_close(found[step], state[0])


def test_a_level_sees_averages_of_the_level_before():
    """Of a constant input, all levels see that constant but where the average reaches over the edge."""
    pyramid = PyramidalTransform(16, 8, 3)
    with torch.no_grad():
        for linear in pyramid.linears:
            linear.weight.zero_()
            linear.weight[:, linear.weight.shape[1] // 2] = 1.0  # the value in the middle
    gates = pyramid(torch.full((2, 16), 3.0))
    torch.testing.assert_close(gates, torch.full((2, GATES, 8), 3.0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_periodic_text_is_learned(kind):
    corpus = corpus_of(periodic(), "char")
    spec = LanguageSpec(kind=kind, vocabulary=len(corpus.vocabulary), embedding=16, hidden=16, layers=1, dropout=0.0)
    recipe = TextRecipe(epochs=12, batch=4, length=25, lr=0.02)
    training = train(spec, corpus, recipe)
    assert training.test.perplexity < 1.1
    again = train(spec, corpus, recipe)
    assert training.val == again.val and training.epoch == again.epoch


def test_noise_is_not_foretold():
    """A fair choice of four letters has 2 bits, and no model of it less but by luck."""
    text = "".join(random.Random(0).choices("abcd", k=4000))
    corpus = corpus_of(text, "char")
    spec = LanguageSpec(vocabulary=len(corpus.vocabulary), embedding=16, hidden=16, layers=1)
    training = train(spec, corpus, TextRecipe(epochs=1, batch=4, length=25))
    assert 1.9 < training.test.bits < 2.3


def test_an_untrained_head_knows_nothing():
    model = built(LanguageSpec(vocabulary=8, embedding=16, hidden=16), 0)
    torch.nn.init.zeros_(model.head.weight)
    torch.nn.init.zeros_(model.head.bias)
    found = score(model, np.arange(2 * CHUNK + 5) % 8)
    assert found.bits == pytest.approx(3.0) and found.perplexity == pytest.approx(8.0)
    assert found.tokens == 2 * CHUNK + 4


def test_tokens_of_val_and_test_are_not_known_before():
    corpus = corpus_of("a b\n" * 100 + "c " * 30, "word")
    assert corpus.vocabulary == ("<unk>", "<eos>", "a", "b")
    assert len(corpus.train) + len(corpus.val) + len(corpus.test) == 330
    assert set(corpus.test.tolist()) == {0}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"hidden": 36}, "multiples of 2"),
        ({"groups": 5}, "multiple of groups"),
        ({"levels": 0}, "levels must be 1 to 8"),
        ({"vocabulary": 0}, "vocabulary must be"),
        ({"kind": "gru"}, "kind must be"),
        ({"dropout": 1.0}, "dropout must be"),
    ],
)
def test_specs_that_do_not_fit(values, said):
    with pytest.raises(ZooError, match=said):
        LanguageSpec(**{"vocabulary": 30, "embedding": 32, "hidden": 32} | values)


def saved(folder):
    model = built(LanguageSpec(vocabulary=4, embedding=16, hidden=16), 0)
    path = folder / "m.safetensors"
    save_model(path, model, "char", ("<unk>", "a", "b", "c"), {})
    return path, model


def test_a_text_is_no_model(tmp_path):
    with pytest.raises(ZooError, match=r"is no model; give the NAME\.safetensors"):
        load_model(tmp_path / "book.txt")


def test_a_model_reads_back(tmp_path):
    path, model = saved(tmp_path)
    kept = load_model(path)
    assert kept.vocabulary == ("<unk>", "a", "b", "c") and kept.unit == "char"
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept.model.state_dict()[name])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unit": "syllable"}, "is not what"),
        ({"vocabulary": ["a"]}, "<unk> first"),
        ({"vocabulary": ["<unk>", "a"]}, "whose vocabulary is 2"),
        ({"spec": {"kind": "lstm", "vocabulary": 4, "embedding": 16, "hidden": 16}}, "does not fit"),
        ({"spec": {"vocabulary": 4, "hiden": 16}}, "did you mean 'hidden'"),
        ({"spec": {"vocabulary": 4, "hidden": 10**9}}, "hidden must be"),
        (
            {"spec": {"vocabulary": 4, "hidden": 4096, "embedding": 4096, "layers": 16}},
            "does not fit its .json .*param",
        ),
    ],
)
def test_files_that_do_not_belong_together(change, said, tmp_path):
    path, _ = saved(tmp_path)
    about = path.with_suffix(".json")
    about.write_text(json.dumps(json.loads(about.read_text()) | change))
    with pytest.raises(ZooError, match=said):
        load_model(path)


def test_train_and_eval_by_command(tmp_path, capsys):
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text(periodic(5, 800), encoding="utf-8")
    options = ["--hidden", "16", "--layers", "1", "--epochs", "2", "--batch", "4", "--length", "20"]
    assert main(["text", "train", str(text), "-o", str(out), *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in document["models"]] == list(KINDS)
    first, second = (row["params"] for row in document["models"])
    assert abs(second / first - 1) <= 0.02
    test = text.with_name("test.txt")
    test.write_text(periodic(5, 800)[760:], encoding="utf-8")
    assert main(["text", "eval", str(out / "espnetv2-text.safetensors"), str(test), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["perplexity"] == pytest.approx(document["models"][0]["test"]["perplexity"])
    assert found["bits"] == pytest.approx(math.log2(found["perplexity"])) and found["unknown"] == 0
    assert main(["text", "train", str(text), "-o", str(out), *options]) == 0  # ours is replaced
    (out / "lstm.json").write_text("{}")
    assert main(["text", "train", str(text), "-o", str(out), *options]) == 1
    assert "--force" in capsys.readouterr().err
    text.write_text("short", encoding="utf-8")
    assert main(["text", "train", str(text), "-o", str(tmp_path / "new")]) == 1
    assert not (tmp_path / "new").exists()
