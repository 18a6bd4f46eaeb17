"""Videos and cameras, by PyAV: frames in, one after the other, and logits that are smoothed over time.

`zoo.inference.buffers` decodes a file ahead of the network, and keeps only the newest frame of a camera, which never
waits.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from zoo.errors import ZooError
from zoo.inference.buffers import AHEAD
from zoo.inference.images import BYTES_PER_PIXEL, MAX_PIXELS, ImageError, Pixels
from zoo.inference.preprocess import Preprocessing, network_input
from zoo.memory import free_bytes
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

DEFAULT_RATE = Fraction(30)
"""Frames a second written where the source does not say how many it has."""


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
        raise ZooError(f"{one_line(name, 80)}: no camera answers ({reason(error)}); check its name") from None
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
    return ImageError(f"{shown(path)}: is no video or is damaged ({reason(error)}); replace it by an intact file")


def reason(error: BaseException) -> str:
    """What FFmpeg says is wrong, in a line."""
    return one_line(str(getattr(error, "strerror", None) or error) or type(error).__name__, 80)


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
