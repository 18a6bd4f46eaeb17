"""Which backends there are, which are installed, and which of them `auto` tries."""

import os
from importlib.util import find_spec
from typing import Literal, get_args

from zoo.errors import ZooError, did_you_mean

Backend = Literal["torch", "onnxruntime", "openvino"]
BACKENDS: tuple[str, ...] = get_args(Backend)
CHOICES = ("auto", *BACKENDS)

ORDER: tuple[Backend, ...] = ("openvino", "onnxruntime", "torch")
"""In which `auto` tries them: the one that is mostly the fastest first, the one that takes every network last."""

NEEDS = {"torch": ("torch",), "onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "onnx")}
"""Packages that a backend is made of."""

EXTRAS = {"torch": "torch", "onnxruntime": "onnx", "openvino": "openvino"}
"""Which extra brings a backend."""


def installed(backend: str) -> bool:
    """Whether a backend's packages are there; nothing is imported."""
    return all(find_spec(package) for package in NEEDS[backend])


def candidates(backend: str) -> tuple[str, ...]:
    """The backends to try for what a user asked for, in order. Raises ZooError for one that is not there."""
    if backend == "auto":
        return tuple(name for name in ORDER if installed(name))
    if backend not in BACKENDS:
        raise ZooError(f"backend {backend!r} is unknown; {did_you_mean(backend, CHOICES)}")
    if not installed(backend):
        raise ZooError(
            f"backend {backend} is not installed; pip install '.[{EXTRAS[backend]}]', "
            f"or take --backend {_others(backend)}"
        )
    return (backend,)


def _others(backend: str) -> str:
    return " or ".join(name for name in ORDER if name != backend and installed(name)) or "auto"


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(requested: int | None, workers: int = 1) -> int:
    """Threads for each of `workers` images at once, of `requested` in all or every core; at least one.

    >>> threads_of(8, 3)
    2
    """
    return max(1, (requested or available_cores()) // workers)
