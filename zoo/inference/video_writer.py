"""Videos written frame by frame, whole or not at all."""

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np

from zoo.errors import ZooError
from zoo.files import atomic
from zoo.inference.images import Pixels
from zoo.inference.video import Frame, reason
from zoo.ownership import NAME
from zoo.text import shown


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
        return ZooError(f"{shown(self._path)}: cannot be written: {reason(error)}; choose another folder with -o")

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
