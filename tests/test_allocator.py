"""What the process does with memory that is freed."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from zoo.allocator import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "keep" else None)
for number in range(12):
    if number == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    a, b = bytearray(40_000_000), bytearray(40_000_000)
    del a, b
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(way: str, **environment: str) -> tuple[str, int]:
    """What `keep_freed_memory` said, and the page faults of ten times two buffers of 40 MB, which glibc would map."""
    clean = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES" and not k.startswith("MALLOC_")}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, way], env=clean | environment, capture_output=True, text=True, check=True
    )
    said, count = process.stdout.split()
    return said, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    _, given_back = faults("leave")
    said, kept = faults("keep")
    assert said == "True"
    assert given_back > 10_000, "else there is nothing to save here"
    assert kept < given_back / 20


def test_settings_of_ones_own_are_left_alone() -> None:
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
    assert faults("keep", GLIBC_TUNABLES="glibc.malloc.mmap_threshold=65536")[0] == "False"
