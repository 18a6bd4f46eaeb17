"""Videos and cameras: frames in order or the newest alone, labels over time, and files that read back exactly."""

import json
import threading
import time
from fractions import Fraction
from itertools import pairwise
from struct import pack

import numpy as np
import pytest

torch = pytest.importorskip("torch")
av = pytest.importorskip("av")

from zoo.cli import main  # noqa: E402
from zoo.errors import ZooError  # noqa: E402
from zoo.inference import video as library  # noqa: E402
from zoo.inference.buffers import Newest, ahead  # noqa: E402
from zoo.inference.images import ImageError  # noqa: E402
from zoo.inference.segment import Settings, segment  # noqa: E402
from zoo.inference.video import Frame, Smoothed, Video, open_video  # noqa: E402
from zoo.inference.video_writer import Writer  # noqa: E402
from zoo.ownership import is_ours  # noqa: E402

SIZE = (48, 64)
RATE = Fraction(12)


def pictures(count=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Five pictures, losslessly."""
    path = tmp_path_factory.mktemp("video") / "street.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "bgr0"
        for picture in pictures():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def read(path):
    return list(open_video(path).frames)


def test_frames_come_in_order_and_whole(clip):
    frames = read(clip)
    assert all((frame.pixels == picture).all() for frame, picture in zip(frames, pictures(), strict=True))
    times = [float(frame.pts * frame.time_base) for frame in frames]
    assert times == pytest.approx([i / 12 for i in range(5)], abs=1e-3)
    assert open_video(clip).rate == RATE


TURNS = {
    "as it is": ((1, 0, 0, 1), lambda x: x),
    "a quarter clockwise": ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    "a half": ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    "a quarter back": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
}


@pytest.mark.parametrize("name", TURNS)
def test_a_video_is_shown_as_its_tag_says(name, tmp_path):
    """The tag is written into the track's header by hand (ISO/IEC 14496-12, 8.3.2)."""
    path, (matrix, turn) = tmp_path / "phone.mp4", TURNS[name]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pictures(1)[0], format="rgb24")))
        container.mux(stream.encode(None))
    plain = [frame.pixels for frame in read(path)]
    raw = bytearray(path.read_bytes())
    start = raw.index(b"tkhd") + 4 + 4 + 5 * 4 + 16
    a, b, c, d = (value << 16 for value in matrix)
    raw[start : start + 36] = pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(raw)
    found = [frame.pixels for frame in read(path)]
    assert all(np.array_equal(turn(x), y) for x, y in zip(plain, found, strict=True)) and len(found) == 2


def test_labels_read_back_exactly(tmp_path):
    labels = [np.random.default_rng(i).integers(0, 20, SIZE, dtype=np.uint8) for i in range(3)]
    path = tmp_path / "x.mkv"
    with Writer(path, SIZE, RATE, labels=True) as file:
        for i, one in enumerate(labels):
            file.write(one, Frame(np.zeros(0, np.uint8), 2 * i, Fraction(1, 12)))
    with av.open(str(path)) as container:
        found = [(float(f.time), f.to_ndarray(format="gray")) for f in container.decode(video=0)]
    assert [when for when, _ in found] == pytest.approx([0, 2 / 12, 4 / 12], abs=1e-3)
    assert all((own == wanted).all() for (_, own), wanted in zip(found, labels, strict=True))


@pytest.mark.parametrize(("name", "labels"), [("x.labels.mkv", True), ("x.overlay.mp4", False)])
def test_a_video_says_who_wrote_it(name, labels, tmp_path):
    """So that the same command twice may replace it."""
    pixels = np.zeros(SIZE if labels else (*SIZE, 3), np.uint8)
    with Writer(tmp_path / name, SIZE, RATE, labels=labels) as file:
        for i in range(30):
            file.write(pixels, Frame(np.zeros(0, np.uint8), i, 1 / RATE))
    assert is_ours(tmp_path / name)


def test_an_interrupted_video_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), Writer(tmp_path / "x.mkv", SIZE, RATE, labels=True):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no video", b"#EXTM3U\nfile:///etc/passwd\n"])
@pytest.mark.parametrize("name", ["x.mp4", "x.mkv", "x.avi", "x.ts"])
def test_what_is_no_video_is_one_sentence(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match="x\\."):
        read(tmp_path / name)


def test_what_is_cut_off_gives_its_frames_or_an_error(clip, tmp_path):
    whole = clip.read_bytes()
    for share in (0.3, 0.6, 0.9):
        path = tmp_path / "x.mkv"
        path.write_bytes(whole[: int(share * len(whole))])
        try:
            frames = read(path)
        except ImageError:
            continue
        assert all(frame.pixels.shape == (*SIZE, 3) for frame in frames)


def test_a_missing_file_and_a_missing_camera(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        open_video(tmp_path / "x.mp4")
    with pytest.raises(ZooError, match="camera"):
        library.open_camera(str(tmp_path / "no-camera"))


# What waits, and what does not --------------------------------------------------------------------------------------


def test_of_a_camera_the_newest_frame_is_taken_and_the_others_are_counted():
    taken, release = [], [threading.Event() for _ in range(3)]

    def source():
        for i in range(9):
            if i % 3 == 0 and i:
                release[i // 3 - 1].wait(5)
            yield i

    newest = Newest(source())
    for gate in release:
        while newest._held != [3 * len(taken) + 2]:
            time.sleep(0.001)
        taken.append(next(newest))
        gate.set()
    assert taken == [2, 5, 8]
    assert newest.dropped == 6
    with pytest.raises(StopIteration):
        next(newest)


def test_of_a_file_every_frame_is_taken_in_order():
    assert list(ahead(range(50), 3)) == list(range(50))


@pytest.mark.parametrize("reader", [Newest, ahead])
def test_what_a_source_raises_is_raised(reader):
    def source():
        raise ImageError("x.mp4: is damaged")
        yield 1

    with pytest.raises(ImageError, match="damaged"):
        list(reader(source()))


def test_leaving_early_ends_the_thread():
    before, frames = threading.active_count(), ahead(iter(range(10**9)), 2)
    assert next(frames) == 0
    frames.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


# Over time ----------------------------------------------------------------------------------------------------------


def test_smoothing_is_an_exponential_moving_average():
    inputs = [torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    smoothed, expected = Smoothed(lambda x: x, 0.75), inputs[0]
    for x in inputs:
        expected = 0.75 * expected + 0.25 * x
        assert torch.allclose(smoothed(x), expected, atol=1e-6)


def test_a_scene_that_stands_still_stays_as_it_is():
    x = torch.randn(1, 3, 4, 5)
    smoothed = Smoothed(lambda x: x, 0.9)
    for _ in range(3):
        assert torch.allclose(smoothed(x), x, atol=1e-6)


def test_smoothing_changes_fewer_labels_from_frame_to_frame():
    rng, base = torch.Generator().manual_seed(0), torch.randn(1, 5, 20, 20, generator=torch.Generator().manual_seed(9))
    frames = [base + 0.7 * torch.randn(1, 5, 20, 20, generator=rng) for _ in range(12)]

    def changes(keep):
        run = Smoothed(lambda x: x, keep)
        labels = [run(x).argmax(1) for x in frames]
        return sum(int((a != b).sum()) for a, b in pairwise(labels[3:]))

    assert changes(0.8) < changes(0.5) < changes(0.0)


def test_a_share_of_one_is_refused():
    with pytest.raises(ZooError, match="below 1"):
        Smoothed(lambda x: x, 1.0)


# The command --------------------------------------------------------------------------------------------------------

MODEL = ["--model", "espnet-c-3.camvid", "--backend", "torch", "--size", "64x48", "--threads", "1"]


def test_a_video_is_segmented_as_its_pictures_are(clip, tmp_path, capsys):
    from pretrained import load

    assert main(["segment", str(clip), *MODEL, "--overlay", "-o", str(tmp_path), "--json"]) == 0
    out = capsys.readouterr()
    row = json.loads(out.out)[0]
    assert row["frames"] == 5 and row["dropped"] == 0 and row["source_fps"] == 12
    assert row["fps"] > 0 and "a second" in out.err
    module = load("espnet-c-3.camvid")
    with av.open(row["labels"]) as container:
        for frame, picture in zip(container.decode(video=0), pictures(), strict=True):
            assert (frame.to_ndarray(format="gray") == segment(module, picture, Settings(size=SIZE))).mean() > 0.999
    with av.open(row["overlay"]) as container:
        assert [f.to_ndarray(format="rgb24").shape for f in container.decode(video=0)] == [(*SIZE, 3)] * 5


def test_a_camera_ends_after_frames_and_says_what_was_dropped(tmp_path, capsys, monkeypatch):
    frames = [Frame(picture, i, 1 / RATE) for i, picture in enumerate(pictures(40))]
    monkeypatch.setattr(library, "open_camera", lambda name: Video(iter(frames), RATE, 0))
    assert main(["segment", "--camera", "cam", *MODEL, "--frames", "1", "-o", str(tmp_path), "--json"]) == 0
    out = capsys.readouterr()
    row = json.loads(out.out)[0]
    assert row["frames"] == 1
    assert f"{row['dropped']} dropped" in out.err
    assert (tmp_path / "cam.labels.mkv").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["a.mp4", "b.png"], 1, "segmented alone"),
        (["a.mp4", "--camera", "x"], 1, "leave out one"),
        (["a.mp4", "--tile", "64"], 1, "--tile is for images"),
        (["a.mp4", "--probabilities"], 1, "--probabilities is for images"),
        (["a.png", "--smooth", "0.5"], 1, "--smooth is for a video"),
        (["a.mp4", "--smooth", "1"], 2, "between 0 and 1"),
        ([], 2, "--camera"),
        (["a.mp4"], 1, "no such file"),
    ],
)
def test_wrong_commands_are_one_sentence(arguments, code, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        found = main(["segment", *arguments, *MODEL])
    except SystemExit as end:
        found = end.code
    assert found == code
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
