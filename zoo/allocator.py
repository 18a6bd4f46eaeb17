"""Memory that is freed and asked for again: kept by the process instead of returned to the system each time."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt(3)."""


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed in this process; returns whether it does.

    glibc maps each large block from the system and gives it back when it is freed, so that a tensor of tens of
    megabytes costs a page fault every 4 KiB each time it is made. In training that is a quarter to two fifths of the
    time (docs/benchmarks.md). The most memory in use at once stays the same; it is held to the end of the process,
    so this is for commands, not for importing. Left alone: other C libraries, and settings of one's own
    (`GLIBC_TUNABLES` with `glibc.malloc`, `MALLOC_…_`).
    """
    own = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(
        name.startswith("MALLOC_") and name.endswith("_") for name in os.environ
    )
    if own or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))
