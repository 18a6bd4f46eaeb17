"""Files are written whole or not at all, whatever happens in between."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.errors import ZooError
from zoo.files import atomic, make_folder


def test_a_file_appears_with_its_content(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("x"), SystemExit(1)])
def test_an_error_leaves_what_was_there(error, tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(type(error) if isinstance(error, BaseException) else error), atomic(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    path = tmp_path / "file.bin"
    with (
        pytest.raises(ZooError, match=r"file\.bin: cannot be written: .*choose another with -o"),
        atomic(path) as partial,
    ):
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_search_on_a_full_disk_leaves_nothing(tmp_path):
    """A limit on the size of files stands in for a full disk: both fail in the middle of a write."""
    code = (
        "import signal, sys\nfrom zoo.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nsys.exit(main(sys.argv[1:]))"
    )
    argv = [sys.executable, "-c", code, "search", "--space", "tiny", "--no-plots", "-o", str(tmp_path / "run")]
    process = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert process.returncode == 1
    assert process.stderr.startswith("zoo: ")
    assert "cannot be written" in process.stderr
    assert process.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_question_without_an_answer_leaves_no_folder(tmp_path):
    words = ["search", "--space", "tiny", "--device", "tx2", "--max-params", "1k", "--no-plots", "-o"]
    assert main([*words, str(tmp_path / "exact")]) == 3
    assert main([*words, str(tmp_path / "study"), "--trials", "2"]) == 3
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    assert main([*words, str(tmp_path / "mine")]) == 3
    assert (tmp_path / "mine").is_dir(), "what was there before stays"
    assert not list((tmp_path / "mine").iterdir())


def test_a_killed_search_leaves_no_half_written_file(tmp_path):
    folder = tmp_path / "run"
    code = (
        "import os, sys, search.runs.writer as runs\nfrom zoo.cli import main\n"
        "def kill(rows):\n    os.kill(os.getpid(), 9)\n"
        "runs._csv = kill\nsys.exit(main(sys.argv[1:]))"
    )
    argv = ["search", "--space", "tiny", "--no-plots", "-o", str(folder)]
    process = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, check=False)
    assert process.returncode == -9
    assert not (folder / "certificate.json").exists()
    again = subprocess.run([sys.executable, "-m", "zoo", *argv], capture_output=True, check=False, cwd=Path.cwd())
    assert again.returncode == 0, again.stderr
    assert (folder / "certificate.json").exists()


def test_a_read_only_folder_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(ZooError, match="Permission denied; choose another with -o"), atomic(tmp_path / "file"):
        pass


def test_a_folder_below_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="cannot be made a folder"):
        make_folder(tmp_path / "file" / "run")
