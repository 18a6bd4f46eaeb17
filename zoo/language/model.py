"""Language models: from tokens to logits of the next one, by `espnetv2-text` or an LSTM of equal size."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.language.cells import LSTMLayer, PyramidalLayer, State, level_widths

Kind = Literal["espnetv2-text", "lstm"]

KINDS: tuple[Kind, ...] = ("espnetv2-text", "lstm")
"""In the order in which they are trained and shown."""

MOST = 4096
"""Largest width of a layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageSpec:
    """A language model; raises ZooError for what does not fit together.

    vocabulary: tokens that it knows. embedding: values of a token. hidden: values of a layer's output. levels: of the
    pyramid; groups: of the context's transformation; neither means anything to an LSTM.
    """

    kind: Kind = "espnetv2-text"
    vocabulary: int
    embedding: int = 128
    hidden: int = 128
    layers: int = 2
    levels: int = 3
    groups: int = 4
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ZooError(f"kind must be {' or '.join(KINDS)}, but is {self.kind!r}")
        for name, most in (("vocabulary", 10**6), ("embedding", MOST), ("hidden", MOST), ("layers", 16)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ZooError(f"{name} must be a whole number from 1 to {most}, but is {value!r}")
        if not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise ZooError(f"dropout must be at least 0 and below 1, but is {self.dropout!r}")
        if self.kind == "espnetv2-text":
            self._check_pyramid()

    def _check_pyramid(self) -> None:
        if type(self.groups) is not int or self.groups < 1 or self.hidden % self.groups:
            raise ZooError(f"hidden ({self.hidden}) must be a multiple of groups ({self.groups}); change one of them")
        unit = 2 ** (self.levels if type(self.levels) is int and 1 <= self.levels <= 8 else 9)
        if self.hidden % unit or self.embedding % unit:
            raise ZooError(
                f"levels must be 1 to 8, and hidden ({self.hidden}) and embedding ({self.embedding}) multiples of "
                f"2^levels, but levels is {self.levels!r}"
            )

    @property
    def inputs(self) -> list[int]:
        """Values that each layer takes."""
        return [self.embedding] + [self.hidden] * (self.layers - 1)

    @property
    def params(self) -> int:
        """Parameters, by the formulas of the layers."""
        ends = self.vocabulary * self.embedding + (self.hidden + 1) * self.vocabulary
        return ends + sum(self._layer_params(inputs) for inputs in self.inputs)

    def _layer_params(self, inputs: int) -> int:
        h = self.hidden
        if self.kind == "lstm":
            return 4 * h * (inputs + h) + 8 * h
        pyramid = sum(4 * width_out * (width_in + 1) for width_in, width_out in level_widths(inputs, h, self.levels))
        return pyramid + 4 * h * (h // self.groups) + 4 * h


def lstm_like(spec: LanguageSpec) -> LanguageSpec:
    """The LSTM whose parameters come nearest to a spec's, embedding and hidden alike but for what evens the count."""

    def made(hidden: int, embedding: int) -> LanguageSpec:
        return LanguageSpec(
            kind="lstm",
            vocabulary=spec.vocabulary,
            embedding=embedding,
            hidden=hidden,
            layers=spec.layers,
            dropout=spec.dropout,
        )

    target_params = spec.params
    hidden = 1
    while hidden < MOST and made(hidden + 1, hidden + 1).params <= target_params:
        hidden += 1
    near = [made(hidden, embedding) for embedding in range(max(1, hidden - 4), min(MOST, 2 * hidden + 4))]
    return min(
        near, key=lambda candidate: (abs(candidate.params - target_params), abs(candidate.embedding - candidate.hidden))
    )


class LanguageModel(nn.Module):
    """Tokens (time, batch) and a state to logits (time, batch, vocabulary) of the token after each, and the state."""

    def __init__(self, spec: LanguageSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = nn.Embedding(spec.vocabulary, spec.embedding)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.layers = nn.ModuleList(_layer(spec, inputs) for inputs in spec.inputs)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(spec.hidden, spec.vocabulary)

    def begin(self, batch: int) -> list[State]:
        """The state before a text."""
        zeros = self.head.weight.new_zeros(batch, self.spec.hidden)
        return [(zeros, zeros) for _ in self.layers]

    def forward(self, tokens: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """Logits at a place depend on the tokens up to it alone."""
        x, after = self.dropout(self.embedding(tokens)), []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer(x, state)  # noqa: PLW2901
            x = self.dropout(x)
            after.append(state)
        return self.head(x), after


def _layer(spec: LanguageSpec, inputs: int) -> nn.Module:
    if spec.kind == "lstm":
        return LSTMLayer(inputs, spec.hidden)
    return PyramidalLayer(inputs, spec.hidden, spec.levels, spec.groups)


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def built(spec: LanguageSpec, seed: int) -> LanguageModel:
    """A model with random weights of a seed; torch's generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LanguageModel(spec)
