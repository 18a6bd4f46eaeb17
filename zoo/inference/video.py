"""Videos and cameras, by PyAV: frames in, label maps and overlays out, one after the other.

A file is decoded ahead of the network, a camera never waits: of its frames only the newest is kept, and the others are
dropped.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import numpy as np
from torch import Tensor

from zoo.errors import ZooError
from zoo.files import atomic
from zoo.inference.images import BYTES_PER_PIXEL, MAX_PIXELS, ImageError, Pixels
from zoo.inference.preprocess import Preprocessing, network_input
from zoo.memory import free_bytes
from zoo.ownership import NAME
from zoo.reading import exists, is_folder
from zoo.text import one_line, shown

FORMATS = {
    ".mp4": "mov",
    ".m4v": "mov",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "matroska",
    ".avi": "avi",
    ".mpg": "mpeg",
    ".mpeg": "mpeg",
    ".ts": "mpegts",
}
"""Endings of videos -> FFmpeg's format. No other is tried: a playlist, for one, would open what it names."""

CAMERAS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""System -> FFmpeg's name of what gives its cameras' frames."""

AHEAD = 4
"""Frames of a file that are decoded before they are needed."""

DEFAULT_RATE = Fraction(30)
"""Frames a second written where the source does not say how many it has."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture (H, W, 3) in RGB, and when it is shown: `pts` times `time_base` seconds."""

    pixels: Pixels
    pts: int
    time_base: Fraction


@dataclass(frozen=True, slots=True)
class Video:
    """An open source. rate: frames a second. count: how many frames it says it has, 0 where it does not say."""

    frames: Iterator[Frame]
    rate: Fraction
    count: int


def is_video(path: Path) -> bool:
    """Whether a file is one by its name."""
    return path.suffix.lower() in FORMATS


def open_video(path: Path) -> Video:
    """The frames of a file. Raises ImageError, naming it, for what is no video or is damaged, then or later."""
    import av

    if not exists(path) or is_folder(path):
        raise ImageError(f"{shown(path)}: there is no such file; give a video such as {', '.join(list(FORMATS)[:4])}")
    try:
        # A file object, since FFmpeg would take a name such as concat:… for a protocol.
        container: Any = av.open(path.open("rb"), format=FORMATS[path.suffix.lower()])
        stream = container.streams.video[0]
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise _damaged(path, error) from None
    return _video(container, stream, path)


def open_camera(name: str) -> Video:
    """The frames of a camera as the system names it, such as /dev/video0. Raises ZooError where it cannot be opened."""
    import av

    kind = CAMERAS.get(sys.platform)
    if kind is None:
        raise ZooError(f"cameras of {sys.platform} are not known; save a video and give its file")
    try:
        container: Any = av.open(name, format=kind)
        stream = container.streams.video[0]
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise ZooError(f"{one_line(name, 80)}: no camera answers ({_reason(error)}); check its name") from None
    return _video(container, stream, Path(name))


def _video(container: Any, stream: Any, path: Path) -> Video:
    stream.thread_type = "AUTO"
    height, width = stream.height, stream.width
    if height * width > MAX_PIXELS or height * width * BYTES_PER_PIXEL * AHEAD > free_bytes():
        raise ImageError(f"{shown(path)}: its frames of {width}x{height} do not fit into memory; give a smaller video")
    rate = stream.average_rate or DEFAULT_RATE
    return Video(_frames(container, stream, path, (height, width)), rate, int(stream.frames or 0))


def _frames(container: Any, stream: Any, path: Path, size: tuple[int, int]) -> Iterator[Frame]:
    import av

    try:
        with container:
            for number, frame in enumerate(container.decode(stream)):
                if (frame.height, frame.width) != size:
                    raise ImageError(f"{shown(path)}: its frames change their size; give a video of one size")
                pts = number if frame.pts is None else frame.pts
                pixels = upright(frame.to_ndarray(format="rgb24"), _matrix(frame))
                yield Frame(pixels, pts, frame.time_base or 1 / DEFAULT_RATE)
    except (av.FFmpegError, MemoryError) as error:
        raise _damaged(path, error) from None


Matrix = tuple[int, int, int, int]
"""a, b, c, d of a display matrix (ISO/IEC 14496-12, 6.2.2): x, y of a pixel is shown at a x + c y, b x + d y."""


def _matrix(frame: Any) -> Matrix | None:
    """The signs of a frame's display matrix; None where it has none."""
    for entry in frame.side_data:
        if entry.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = (int(sign) for sign in np.sign(np.frombuffer(bytes(entry), np.int32)[:5]))
            return a, b, c, d
    return None


def upright(pixels: Pixels, matrix: Matrix | None) -> Pixels:
    """A picture (H, W, 3) as its display matrix shows it: turned by quarters, mirrored; other angles stay as they are.

    >>> upright(np.array([[[1], [2]]], np.uint8), (0, 1, -1, 0))[:, :, 0].tolist()  # a quarter clockwise
    [[1], [2]]
    """
    if matrix is None:
        return pixels
    a, b, c, d = matrix
    if a and d and not (b or c):
        across, down = a, d
    elif b and c and not (a or d):
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    else:
        return pixels
    return np.ascontiguousarray(pixels[::down, ::across])


def _damaged(path: Path, error: BaseException) -> ImageError:
    return ImageError(f"{shown(path)}: is no video or is damaged ({_reason(error)}); replace it by an intact file")


def _reason(error: BaseException) -> str:
    return one_line(str(getattr(error, "strerror", None) or error) or type(error).__name__, 80)


class _Thread(threading.Thread):
    """Runs a source; what it raises is raised again where its items are taken."""

    def __init__(self, source: Iterable[Item], put: "Callable[[Item], bool]", end: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.source, self.put, self.end = source, put, end
        self.error: BaseException | None = None

    def run(self) -> None:
        """Take everything; stop where nobody wants more."""
        try:
            for item in self.source:
                if not self.put(item):
                    break
        except BaseException as error:
            self.error = error
        finally:
            self.end()


class Newest(Iterator[Item]):
    """Of a source that does not wait, always the newest item; `dropped` counts those that nobody took.

    >>> import time
    >>> newest = Newest(iter(range(5)))
    >>> time.sleep(0.2)
    >>> list(newest), newest.dropped
    ([4], 4)
    """

    def __init__(self, source: Iterable[Item]) -> None:
        self.dropped = 0
        self._held: list[Item] = []
        self._ended = self._closed = False
        self._changed = threading.Condition()
        self._thread = _Thread(source, self._put, self._end)
        self._thread.start()

    def _put(self, item: Item) -> bool:
        with self._changed:
            self.dropped += len(self._held)
            self._held[:] = [item]
            self._changed.notify()
            return not self._closed

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def __next__(self) -> Item:
        with self._changed:
            while not self._held and not self._ended:
                self._changed.wait()
            if self._held:
                return self._held.pop()
        if self._thread.error is not None:
            raise self._thread.error
        raise StopIteration

    def close(self) -> None:
        """Take no more from the source."""
        self._closed = True


def ahead(source: Iterable[Item], count: int = AHEAD) -> Iterator[Item]:
    """Every item in order; up to `count` are made in a thread before they are needed."""
    import queue

    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(count)
    closed = threading.Event()

    def put(item: Any, goes_on: bool = True) -> bool:
        while not closed.is_set():
            try:
                waiting.put((goes_on, item), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def end() -> None:
        put(None, goes_on=False)

    thread = _Thread(source, put, end)
    thread.start()
    try:
        while (entry := waiting.get())[0]:
            yield entry[1]
        if thread.error is not None:
            raise thread.error
    finally:
        closed.set()


class Smoothed:
    """A network's logits, averaged over time: of each new frame 1 - `keep`, of what was before `keep`.

    An exponential moving average, which holds labels still where the network wavers, and follows a moving edge by about
    keep / (1 - keep) frames late.
    """

    def __init__(self, run: Callable[[Tensor], Any], keep: float) -> None:
        if not 0 <= keep < 1:
            raise ZooError(f"--smooth must be at least 0 and below 1, but is {keep:g}")
        self._run, self.keep = run, keep
        self._state: Tensor | None = None

    def input_of(self, pixels: Pixels, preprocessing: Preprocessing, size: tuple[int, int]) -> Tensor:
        """What the network takes of an image."""
        make: Callable[..., Tensor] = getattr(self._run, "input_of", network_input)
        return make(pixels, preprocessing, size)

    def __call__(self, images: Tensor) -> Tensor:
        """Averaged logits of the next frame."""
        out = self._run(images)
        logits: Tensor = out if isinstance(out, Tensor) else out[0]
        if self._state is None or self._state.shape != logits.shape:
            self._state = logits.clone()
        else:
            self._state = self._state.lerp(logits, 1 - self.keep)
        return self._state


class Writer:
    """A video written whole or not at all: labels as grey FFV1 in Matroska, lossless, pictures as H.264 or MPEG-4."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction, *, labels: bool) -> None:
        import av

        self._path, self._stack = path, ExitStack()
        self._format = "gray" if labels else "rgb24"
        partial = self._stack.enter_context(atomic(path))
        try:
            self._container: Any = av.open(str(partial), "w", format="matroska" if labels else "mp4")
            self._container.metadata["comment"] = NAME  # by which the next run knows that it may replace it
            self._stream = cast("Any", self._container.add_stream("ffv1" if labels else _encoder(), rate=rate))
        except (av.FFmpegError, OSError, ValueError) as error:
            self._stack.__exit__(type(error), error, None)
            raise self._failed(error) from None
        self._stream.height, self._stream.width = size
        even = size[0] % 2 == size[1] % 2 == 0
        self._stream.pix_fmt = "gray" if labels else "yuv420p" if even else "yuv444p"

    def write(self, pixels: Pixels, frame: Frame) -> None:
        """Add a picture, shown when `frame` was."""
        import av

        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=self._format)
        picture.pts, picture.time_base = frame.pts, frame.time_base
        self._encode(picture)

    def _encode(self, picture: Any) -> None:
        import av

        try:
            self._container.mux(self._stream.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from None

    def _failed(self, error: BaseException) -> ZooError:
        return ZooError(f"{shown(self._path)}: cannot be written: {_reason(error)}; choose another folder with -o")

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._encode(None)
            self._container.close()
        except BaseException as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)


def _encoder() -> str:
    import av

    return "libx264" if "libx264" in av.codecs_available else "mpeg4"
