"""Worker processes that begin as copies of this one, where the system allows it and there are cores for them."""

import multiprocessing
import os
from typing import Any


def cores() -> int:
    """Processors that this process may use, 8 at most."""
    affinity = getattr(os, "sched_getaffinity", None)
    return max(1, min(8, len(affinity(0)) if affinity else os.cpu_count() or 1))


def can_fork() -> bool:
    """Whether workers are worth it and safe: macOS has a fork that its own libraries do not survive."""
    return cores() > 1 and hasattr(os, "fork") and os.uname().sysname == "Linux"


def context() -> Any:
    """The context that forks."""
    return multiprocessing.get_context("fork")
