"""Trains and scores language models; the same seed and text give the same model on one machine."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from zoo.errors import ZooError
from zoo.language.corpus import Corpus, Tokens
from zoo.language.model import LanguageModel, LanguageSpec, built

CHUNK = 256
"""Tokens that are scored at once; the state goes on to the next ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRecipe:
    """How a language model is trained; raises ZooError. clip: largest norm of a step's gradient."""

    epochs: int = 5
    batch: int = 16
    length: int = 64
    lr: float = 3e-3
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "length"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ZooError(f"{name} must be a whole number from 1 on, but is {getattr(self, name)!r}")
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ZooError(f"{name} must be a positive number, but is {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class TextScore:
    """Mean of -ln p over `tokens` tokens."""

    nats: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """The exponential of the nats; infinite where that is too large."""
        return math.exp(self.nats) if self.nats < 700 else math.inf

    @property
    def bits(self) -> float:
        """Bits a token: of characters, bits per character."""
        return self.nats / math.log(2)


@torch.inference_mode()
def score(model: LanguageModel, tokens: Tokens) -> TextScore:
    """How well a model foretells every token but the first, in order, from all before it."""
    if len(tokens) < 2:
        raise ZooError("a text of one token has nothing to foretell; give a longer one")
    model.eval()
    whole, states, total = torch.from_numpy(tokens)[:, None], model.begin(1), 0.0
    for start in range(0, len(tokens) - 1, CHUNK):
        stop = min(start + CHUNK, len(tokens) - 1)
        logits, states = model(whole[start:stop], states)
        total += float(cross_entropy(logits.flatten(0, 1), whole[start + 1 : stop + 1].flatten(), reduction="sum"))
    return TextScore(total / (len(tokens) - 1), len(tokens) - 1)


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with the weights of its best epoch on val, and its scores."""

    model: LanguageModel
    epoch: int
    val: TextScore
    test: TextScore
    seconds: float


def train(
    spec: LanguageSpec,
    corpus: Corpus,
    recipe: TextRecipe,
    show: Callable[[int, TextScore], None] = lambda epoch, val_score: None,
) -> Trained:
    """Train by Adam through `length` steps back, and keep the epoch that is best on val. Raises ZooError."""
    start = time.monotonic()
    model = built(spec, recipe.seed)
    streams = _streams(corpus.train, recipe)
    optimizer = torch.optim.Adam(model.parameters(), recipe.lr)
    best: tuple[TextScore, int, dict[str, Tensor]] | None = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)  # of the dropout
        for epoch in range(1, recipe.epochs + 1):
            _epoch(model, streams, optimizer, recipe)
            val_score = score(model, corpus.val)
            show(epoch, val_score)
            if best is None or val_score.nats < best[0].nats:
                best = val_score, epoch, {name: value.clone() for name, value in model.state_dict().items()}
    if best is None or not math.isfinite(best[0].nats):
        raise ZooError(f"training of {spec.kind} went to infinity; lower --lr ({recipe.lr:g})")
    model.load_state_dict(best[2])
    seconds = time.monotonic() - start
    return Trained(model.eval(), best[1], best[0], score(model, corpus.test), seconds)


def _streams(tokens: Tokens, recipe: TextRecipe) -> Tensor:
    """The text as (time, batch): `batch` pieces side by side, each as long as all."""
    batch = max(1, min(recipe.batch, len(tokens) // (recipe.length + 1)))
    length = len(tokens) // batch
    return torch.from_numpy(tokens[: batch * length]).reshape(batch, length).T.contiguous()


def _epoch(model: LanguageModel, streams: Tensor, optimizer: torch.optim.Optimizer, recipe: TextRecipe) -> None:
    model.train()
    states = model.begin(streams.shape[1])
    for start in range(0, len(streams) - 1, recipe.length):
        stop = min(start + recipe.length, len(streams) - 1)
        logits, states = model(streams[start:stop], [(h.detach(), c.detach()) for h, c in states])
        loss = cross_entropy(logits.flatten(0, 1), streams[start + 1 : stop + 1].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
