"""Killed at every rename and write, and at random moments, a folder or a file is the old one or the new one.

The process is a fork that ends itself, as SIGKILL would, in the n-th of the calls that change the disk.
"""

import os
import random
import shutil
import sys
from pathlib import Path

import pytest

from zoo.files import atomic, atomic_folder, recover_folders

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

CALLS = ("rename", "replace", "mkdir", "rmdir", "unlink", "fsync", "open")
KILLED = 137


def killed_at(n: int, work) -> bool:
    """Do `work` in a fork that dies in its n-th call; whether it died before the end."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == KILLED
    count = 0

    def guard(real):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == n:
                os._exit(KILLED)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, guard(getattr(os, name)))
    try:
        work()
    finally:
        os._exit(0)


def killed_after(lines: int, work) -> bool:
    """Do `work` in a fork that dies at a line of python: any moment, not only a call."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == KILLED
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        count += 1
        if count == lines:
            os._exit(KILLED)
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        os._exit(0)


def write_folder(target: Path, text: str) -> None:
    with atomic_folder(target) as partial:
        for name in ("a", "b"):
            (partial / name).write_text(text)


def content(target: Path) -> set[str]:
    return {(target / name).read_text() for name in ("a", "b")}


def all_kills(kill, begin, work, check, points) -> int:
    deaths = 0
    for n in points:
        begin()
        deaths += kill(n, work)
        check()
    return deaths


@pytest.mark.parametrize("replaces", [True, False])
def test_a_folder_is_the_old_or_the_new_one(replaces, tmp_path):
    target = tmp_path / "root" / "mine"

    def begin() -> None:
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir()
        if replaces:
            write_folder(target, "old")

    def check() -> None:
        recover_folders(target.parent)  # what the next command does
        if replaces or target.exists():
            assert content(target) in ({"old"}, {"new"})
        assert [p.name for p in target.parent.iterdir() if p.name.endswith((".old", ".part"))] == []
        write_folder(target, "again")
        assert content(target) == {"again"}

    work = lambda: write_folder(target, "new")  # noqa: E731
    assert all_kills(killed_at, begin, work, check, range(1, 30)) > 5
    moments = random.Random(replaces).sample(range(1, 500), 50)
    assert all_kills(killed_after, begin, work, check, moments) > 10


def test_a_file_is_the_old_or_the_new_one(tmp_path):
    path = tmp_path / "root" / "file"

    def begin() -> None:
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        path.write_text("old")

    def work() -> None:
        with atomic(path) as partial:
            partial.write_text("new")

    def check() -> None:
        assert path.read_text() in ("old", "new")

    assert all_kills(killed_at, begin, work, check, range(1, 12)) > 2


def test_a_device_that_is_replaced_is_never_missing(tmp_path, monkeypatch):
    """The case that was found: SIGKILL at a rename of `zoo measure --replace` lost the device."""
    from hw_models.device import SHIPPED, device_folders, load_device
    from hw_models.device_writer import add_device

    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    source = tmp_path / "mine"
    shutil.copytree(SHIPPED / "tx2", source)
    add_device(source)
    target = tmp_path / "devices" / "mine"

    def work() -> None:
        with atomic_folder(target) as partial:
            for file in source.iterdir():
                shutil.copyfile(file, partial / file.name)

    for n in range(1, 40):
        killed_at(n, work)
        names = set(device_folders())
        assert "mine" in names and not [name for name in names if name.startswith(".")]
    assert load_device("mine").title


def test_only_the_holder_writes_a_folder(tmp_path):
    from zoo.claims import SEARCH, TRAINING, claimed
    from zoo.errors import ZooError

    (tmp_path / "run").mkdir()
    read, write = os.pipe()
    process = os.fork()
    if not process:
        with claimed(tmp_path / "run", TRAINING):
            os.write(write, b"x")
            os.read(read, 1)
            os.close(write)
            import time

            time.sleep(60)
        os._exit(0)
    try:
        import time

        deadline = time.monotonic() + 20
        holder = tmp_path / "run" / ".lock.holder"
        while not (holder.exists() and holder.read_text()) and time.monotonic() < deadline:
            time.sleep(0.01)
        with (
            pytest.raises(ZooError, match=rf"held by a training \(process {process} on "),
            claimed(tmp_path / "run", TRAINING),
        ):
            pass
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
    with claimed(tmp_path / "run", TRAINING):  # a dead process holds nothing
        pass
    (tmp_path / "run" / "last.pt").write_bytes(b"")
    with pytest.raises(ZooError, match="holds a training, and a search"), claimed(tmp_path / "run", SEARCH):
        pass


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_is_kept(tmp_path):
    from zoo.claims import TRAINING, claimed
    from zoo.errors import ZooError

    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(ZooError, match="is a link where a lock must be"), claimed(tmp_path / "run", TRAINING):
        pass
    assert (tmp_path / "precious").read_text() == "mine"
