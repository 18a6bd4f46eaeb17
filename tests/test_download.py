"""Fetching weights: addresses that fail in every way, a cache that many processes share, files carried by hand."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest
from filelock import FileLock

from pretrained.download import fetch, is_intact, obtain
from pretrained.manifest import Source, Weights, manifest
from pretrained.transport import Patience, TransferError, _Redirects
from zoo.errors import ZooError
from zoo.folders import cache_home

BODY = bytes(range(256)) * 40
FILE = "encoder/tiny.pth"
QUICK = Patience(connect_s=5, connect_with_mirror_s=1, read_s=5, total_s=10, rounds=3, pause_s=0.01, lock_s=10)
REFUSED = "https://127.0.0.1:1/pretrained"
"""An address where nothing listens."""


@pytest.fixture(autouse=True)
def nothing_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no name but the local ones: a test that would leave this machine fails at once."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    real = socket.getaddrinfo

    def local_only(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", local_only)


@dataclass
class Server:
    """A local web server: each path gives its answers in turn, the last one for ever."""

    url: str = ""
    answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = field(default_factory=lambda: defaultdict(list))
    requests: Counter[str] = field(default_factory=Counter)
    hold: threading.Event = field(default_factory=threading.Event)
    """Set by a request for /held, which then sends half of its body and waits."""
    go_on: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, body: bytes = b"", status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answers[path].append((status, headers or {}, body))


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            count = state.requests[self.path]
            state.requests[self.path] += 1
            answers = state.answers[self.path] or [(404, {}, b"")]
            status, headers, body = answers[min(count, len(answers) - 1)]
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.path.startswith("/held"):
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                state.hold.set()
                state.go_on.wait(10)
                body = body[len(body) // 2 :]
            with suppress(OSError):  # the client may have gone
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{web.server_port}"
    yield state
    state.go_on.set()
    web.shutdown()
    web.server_close()
    thread.join(5)


def tiny(url: str = REFUSED, body: bytes = BODY) -> Weights:
    """An entry whose file is `body`, upstream at `url`."""
    source = Source(title="made up", license="MIT", holder="nobody", url=url)
    found = manifest().find("espnet-c-3.cityscapes")
    return replace(found, source=source, file=FILE, bytes=len(body), sha256=hashlib.sha256(body).hexdigest())


def folder_mirror(root: Path, body: bytes = BODY) -> str:
    (root / FILE).parent.mkdir(parents=True)
    (root / FILE).write_bytes(body)
    return str(root)


def left_in_cache() -> list[str]:
    """Files of the cache that are not locks."""
    return sorted(path.name for path in cache_home().rglob("*") if path.is_file() and path.suffix != ".lock")


def test_upstream_comes_first_and_the_second_fetch_asks_nobody(server: Server, tmp_path: Path) -> None:
    server.answer(f"/up/{FILE}", BODY)
    server.answer(f"/mirror/{FILE}", BODY)
    entry = tiny(f"{server.url}/up")
    first = obtain(entry, mirrors=[f"{server.url}/mirror"], patience=QUICK)
    second = obtain(entry, mirrors=[f"{server.url}/mirror"], patience=QUICK)
    assert first.path == cache_home() / "weights" / FILE
    assert first.path.read_bytes() == BODY
    assert (first.taken_from, second.taken_from) == (f"{server.url}/up/{FILE}", "cache")
    assert server.requests == {f"/up/{FILE}": 1}


def test_folder_mirror_needs_no_network(tmp_path: Path) -> None:
    got = obtain(tiny(), mirrors=[folder_mirror(tmp_path / "m")], patience=QUICK)
    assert got.path.read_bytes() == BODY
    assert got.taken_from == str(tmp_path / "m" / FILE)


def test_mirror_from_the_environment_comes_after_the_one_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_WEIGHTS_MIRROR", folder_mirror(tmp_path / "environment"))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert obtain(tiny(), mirrors=[str(empty)], patience=QUICK).taken_from == str(tmp_path / "environment" / FILE)


def test_mirror_of_the_environment_is_needed_only_when_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(tiny(), mirrors=[folder_mirror(tmp_path / "m")], patience=QUICK)
    monkeypatch.setenv("ZOO_WEIGHTS_MIRROR", "/no/such/folder")
    assert obtain(tiny(), patience=QUICK).taken_from == "cache"
    with pytest.raises(ZooError, match="is not a folder"):
        fetch(tiny(body=b"other"), patience=QUICK)


def test_silent_network_costs_little_where_a_mirror_is_at_hand(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)  # takes the connection and never answers
        entry = tiny(f"https://127.0.0.1:{silent.getsockname()[1]}")
        patience = replace(QUICK, connect_s=60, read_s=60, connect_with_mirror_s=0.2)
        assert fetch(entry, mirrors=[folder_mirror(tmp_path / "m")], patience=patience).read_bytes() == BODY


def test_404_upstream_then_mirror(server: Server) -> None:
    server.answer(f"/mirror/{FILE}", BODY)
    entry = tiny(f"{server.url}/up")
    assert fetch(entry, mirrors=[f"{server.url}/mirror/"], patience=QUICK).read_bytes() == BODY
    assert server.requests == {f"/up/{FILE}": 1, f"/mirror/{FILE}": 1}


def test_503_is_tried_again_and_404_is_not(server: Server) -> None:
    server.answer(f"/up/{FILE}", status=503)
    server.answer(f"/up/{FILE}", status=503)
    server.answer(f"/up/{FILE}", BODY)
    assert fetch(tiny(f"{server.url}/up"), patience=QUICK).read_bytes() == BODY
    assert server.requests[f"/up/{FILE}"] == 3
    with pytest.raises(ZooError, match="answered 404"):
        fetch(tiny(f"{server.url}/gone", b"x"), patience=QUICK)
    assert server.requests[f"/gone/{FILE}"] == 1


def test_rounds_end(server: Server) -> None:
    server.answer(f"/up/{FILE}", status=503)
    with pytest.raises(ZooError, match="answered 503"):
        fetch(tiny(f"{server.url}/up"), patience=QUICK)
    assert server.requests[f"/up/{FILE}"] == QUICK.rounds


def test_wrong_hash_names_both_keeps_nothing_and_asks_once(server: Server) -> None:
    other = BODY[::-1]
    server.answer(f"/up/{FILE}", other)
    entry = tiny(f"{server.url}/up")
    with pytest.raises(ZooError) as caught:
        fetch(entry, patience=QUICK)
    assert entry.sha256 in str(caught.value)
    assert hashlib.sha256(other).hexdigest() in str(caught.value)
    assert left_in_cache() == []
    assert server.requests[f"/up/{FILE}"] == 1


def test_wrong_hash_upstream_then_mirror(server: Server, tmp_path: Path) -> None:
    server.answer(f"/up/{FILE}", BODY[::-1])
    entry = tiny(f"{server.url}/up")
    assert fetch(entry, mirrors=[folder_mirror(tmp_path / "m")], patience=QUICK).read_bytes() == BODY


def test_connection_cut_in_the_body_is_tried_again(server: Server) -> None:
    server.answer(f"/up/{FILE}", BODY[:1000], headers={"Content-Length": str(len(BODY))})
    server.answer(f"/up/{FILE}", BODY)
    assert fetch(tiny(f"{server.url}/up"), patience=QUICK).read_bytes() == BODY
    assert server.requests[f"/up/{FILE}"] == 2


def test_always_truncated_body_leaves_nothing(server: Server) -> None:
    server.answer(f"/up/{FILE}", BODY[:1000])
    with pytest.raises(ZooError, match=f"1000 bytes instead of {len(BODY)}"):
        fetch(tiny(f"{server.url}/up"), patience=QUICK)
    assert left_in_cache() == []


def test_reading_stops_beyond_the_manifests_length(server: Server) -> None:

    server.answer(f"/up/{FILE}", BODY + b"x" * (1 << 22))
    entry = tiny(f"{server.url}/up")
    with pytest.raises(ZooError, match=f"longer than the {len(BODY)} bytes"):
        fetch(entry, patience=QUICK)
    assert left_in_cache() == []
    assert server.requests[f"/up/{FILE}"] == 1


def test_offline_says_what_to_do() -> None:
    entry = tiny("https://raw.example.org/w")
    with pytest.raises(ZooError) as caught:
        fetch(entry, patience=QUICK)
    message = str(caught.value)
    for part in (entry.name, entry.origin, "Name or service not known", "--mirror", "--from-file"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "mirror",
    ["file:///tmp", "ftp://example.org/w", "https://", "https://u:p@example.org", "https://example.org/?a", "/no"],
)
def test_what_is_no_mirror_is_refused(mirror: str) -> None:
    with pytest.raises(ZooError, match="mirror"):
        fetch(tiny(), mirrors=[mirror], patience=QUICK)


def test_redirects_stay_on_https(server: Server) -> None:
    def redirected(origin: str, target: str) -> Any:
        return _Redirects().redirect_request(Request(origin), None, 302, "Found", {}, target)

    assert redirected("https://a.org/x", "https://b.org/x").full_url == "https://b.org/x"
    assert redirected("http://127.0.0.1/x", "http://127.0.0.1/y").full_url == "http://127.0.0.1/y"
    for origin, target in (
        ("https://a.org/x", "http://a.org/x"),
        ("http://a.org/x", "ftp://a.org/x"),
        ("https://a.org/x", "file:///x"),
    ):
        with pytest.raises(TransferError, match="not https"):
            redirected(origin, target)
    server.answer(f"/up/{FILE}", status=302, headers={"Location": "file:///etc/hostname"})
    with pytest.raises(ZooError, match="'file:///etc/hostname' is not allowed"):
        fetch(tiny(f"{server.url}/up"), patience=QUICK)


def test_redirects_in_a_circle_are_one_sentence(server: Server) -> None:
    server.answer(f"/mirror/{FILE}", status=302, headers={"Location": f"{server.url}/mirror/{FILE}"})
    with pytest.raises(ZooError, match="redirects in a circle") as caught:
        fetch(tiny(), mirrors=[f"{server.url}/mirror"], patience=QUICK)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("secret", ["me:S3CRET@", "S3CRET@", "me:S3@CRET@"])
def test_a_password_in_a_redirect_is_neither_followed_nor_printed(server: Server, secret: str) -> None:
    target = server.url.replace("://", f"://{secret}") + "/elsewhere?key=S3CRET"
    server.answer(f"/mirror/{FILE}", status=302, headers={"Location": target})
    server.answer("/elsewhere", BODY)
    with pytest.raises(ZooError, match="with a password, which is not followed") as caught:
        fetch(tiny(), mirrors=[f"{server.url}/mirror"], patience=QUICK)
    assert "S3" not in str(caught.value) and "CRET" not in str(caught.value)


def test_redirect_of_a_local_mirror_is_followed(server: Server) -> None:
    server.answer(f"/mirror/{FILE}", status=302, headers={"Location": f"{server.url}/elsewhere"})
    server.answer("/elsewhere", BODY)
    assert fetch(tiny(), mirrors=[f"{server.url}/mirror"], patience=QUICK).read_bytes() == BODY


def test_damaged_cache_is_replaced(tmp_path: Path) -> None:
    mirror = folder_mirror(tmp_path / "m")
    path = fetch(tiny(), mirrors=[mirror], patience=QUICK)
    path.write_bytes(b"x" + BODY[1:])
    assert not is_intact(path, tiny())
    again = obtain(tiny(), mirrors=[mirror], patience=QUICK)
    assert again.taken_from != "cache"
    assert path.read_bytes() == BODY


def test_zoo_home_moves_the_cache_and_a_copy_of_it_is_a_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "one"))
    path = fetch(tiny(), mirrors=[folder_mirror(tmp_path / "m")], patience=QUICK)
    assert path.is_relative_to(tmp_path / "one")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "two"))
    assert fetch(tiny(), mirrors=[str(tmp_path / "one" / "weights")], patience=QUICK).is_relative_to(tmp_path / "two")


def test_file_carried_by_hand(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(BODY)
    bad.write_bytes(BODY[:-1])
    with pytest.raises(ZooError) as caught:
        fetch(tiny(), from_file=bad, patience=QUICK)
    assert tiny().sha256 in str(caught.value) and hashlib.sha256(BODY[:-1]).hexdigest() in str(caught.value)
    assert left_in_cache() == []
    with pytest.raises(ZooError, match="is not a file"):
        fetch(tiny(), from_file=Path(os.devnull), patience=QUICK)
    with pytest.raises(ZooError, match="cannot be read"):
        fetch(tiny(), from_file=tmp_path / "none", patience=QUICK)
    assert fetch(tiny(), from_file=good, patience=QUICK).read_bytes() == BODY
    assert good.exists()
    assert obtain(tiny(), patience=QUICK).taken_from == "cache"


def test_cache_that_cannot_be_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file" / "cache"))
    with pytest.raises(ZooError, match="set ZOO_HOME"):
        fetch(tiny(), mirrors=[folder_mirror(tmp_path / "m")], patience=QUICK)


def test_read_only_cache_serves_what_it_has(tmp_path: Path) -> None:
    mirror = folder_mirror(tmp_path / "m")
    path = fetch(tiny(), mirrors=[mirror], patience=QUICK)
    path.parent.chmod(0o555)
    try:
        if os.access(path.parent, os.W_OK):
            pytest.skip("permissions do not bind this user")
        assert fetch(tiny(), patience=QUICK) == path
        with pytest.raises(ZooError, match="set ZOO_HOME"):
            fetch(tiny(body=b"other"), mirrors=[mirror], patience=QUICK)
    finally:
        path.parent.chmod(0o755)


def test_lock_that_nobody_releases(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mirror = folder_mirror(tmp_path / "m")
    path = fetch(tiny(), mirrors=[mirror], patience=QUICK)
    path.unlink()
    with FileLock(path.parent / f".{path.name}.lock"), pytest.raises(ZooError, match="held by another process"):
        fetch(tiny(), mirrors=[mirror], patience=replace(QUICK, notice_s=0.01, lock_s=0.02))
    assert "waiting for another process" in caplog.text


CHILD = """
import hashlib, sys
from dataclasses import replace
from pathlib import Path
from pretrained.download import fetch
from pretrained.manifest import Source, manifest
from pretrained.transport import Patience
body, url, mirror = Path(sys.argv[1]).read_bytes(), sys.argv[2], sys.argv[3:]
source = Source(title="made up", license="MIT", holder="nobody", url=url)
entry = replace(manifest().find("espnet-c-3.cityscapes"), source=source, file="encoder/tiny.pth", bytes=len(body),
                sha256=hashlib.sha256(body).hexdigest())
print(fetch(entry, mirrors=mirror, patience=Patience(pause_s=0.01, read_s=30)))
"""
ROOT = Path(__file__).resolve().parents[1]


def child(tmp_path: Path, *arguments: str, before: str = "") -> "subprocess.Popen[str]":
    """A process that fetches the same tiny entry."""
    body = tmp_path / "body"
    if not body.exists():  # an earlier child may be reading it
        body.write_bytes(BODY)
    command = [sys.executable, "-c", before + CHILD, str(body), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ten_processes_download_once(server: Server, tmp_path: Path) -> None:
    server.answer(f"/up/{FILE}", BODY)
    children = [child(tmp_path, f"{server.url}/up") for _ in range(10)]
    printed = {process.communicate(timeout=60)[0].strip() for process in children}
    assert [process.returncode for process in children] == [0] * 10
    assert printed == {str(cache_home() / "weights" / FILE)}
    assert server.requests == {f"/up/{FILE}": 1}


def test_killed_download_leaves_nothing_in_place_and_is_cleaned_up(server: Server, tmp_path: Path) -> None:
    server.answer(f"/held/{FILE}", BODY)
    process = child(tmp_path, f"{server.url}/held")
    assert server.hold.wait(20)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    assert FILE.rpartition("/")[2] not in left_in_cache()
    server.go_on.set()
    assert fetch(tiny(), mirrors=[folder_mirror(tmp_path / "m")], patience=QUICK).read_bytes() == BODY
    assert left_in_cache() == ["tiny.pth"]


def test_interrupted_download_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.answer(f"/held/{FILE}", BODY)
    # A shell's background jobs ignore the signal, and so would the child of tests that run as one.
    heed = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = child(tmp_path, f"{server.url}/held", before=heed)
    assert server.hold.wait(20)
    process.send_signal(signal.SIGINT)
    server.go_on.set()
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert left_in_cache() == []


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    process = child(tmp_path, REFUSED, folder_mirror(tmp_path / "m"), before=limit)
    _, errors = process.communicate(timeout=20)
    assert "ZooError" in errors.strip().splitlines()[-1] and "set ZOO_HOME" in errors
    assert left_in_cache() == []
