"""`zoo segment` of a video or a camera: a video of labels, one of overlays, frames a second."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import Arguments, note
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.cli.segment import _Job
    from zoo.inference.buffers import Newest
    from zoo.inference.video import Frame, Video

VIDEO_ENDINGS = (".labels.mkv", ".overlay.mp4")
"""Endings of the files written."""

SHOWN_EVERY_S = 0.5
"""Between two lines on a terminal."""


def source_of(args: Arguments) -> str | None:
    """The one video or camera that is asked for; None for images. Raises ZooError for a mixture."""
    from zoo.inference.video import is_video

    videos: list[str] = [text for text in args.images if is_video(Path(text))]
    if args.camera and args.images:
        raise ZooError("--camera takes the place of images; leave out one of them")
    if not videos:
        return str(args.camera) if args.camera else None
    if len(args.images) > 1:
        raise ZooError(f"{videos[0]}: a video is segmented alone; give one a command")
    for name in ("tile", "resume", "probabilities", "legend"):
        if getattr(args, name):
            raise ZooError(f"--{name} is for images, and {videos[0]} is a video; leave it out")
    return videos[0]


def outputs_of(args: Arguments, source: str) -> tuple[Path, Path | None]:
    """Where labels and overlays go."""
    labels, overlay = (args.out / f"{Path(source).stem}{ending}" for ending in VIDEO_ENDINGS)
    return labels, overlay if args.overlay else None


def segment_video(args: Arguments, job: "_Job", source: str, labels: Path, overlay: Path | None) -> dict[str, Any]:
    """Segment every frame, or of a camera what there is time for. Returns plain values for JSON."""
    import numpy as np

    from zoo.inference.images import class_counts
    from zoo.inference.overlay import overlay as painted
    from zoo.inference.segment import segment
    from zoo.inference.video import Smoothed, open_camera, open_video
    from zoo.inference.video_writer import Writer

    video = open_camera(source) if args.camera else open_video(Path(source))
    run = Smoothed(job.engine, args.smooth) if args.smooth else job.engine
    counts, frame_count, start = np.zeros(len(job.key.names)), 0, time.monotonic()
    frames, newest = _taken(args, video)
    size = (0, 0)
    with ExitStack() as stack:
        files: list[Writer] = []
        for frame in _shown(frames, video, newest):
            label_map = segment(job.module, frame.pixels, job.settings, run=run)
            if not files:
                size = label_map.shape[0], label_map.shape[1]
                files.append(stack.enter_context(Writer(labels, size, video.rate, labels=True)))
                if overlay:
                    picture = frame.pixels.shape[:2]
                    files.append(stack.enter_context(Writer(overlay, picture, video.rate, labels=False)))
            files[0].write(label_map, frame)
            if overlay:
                files[1].write(np.asarray(painted(frame.pixels, label_map, job.key, legend=False)), frame)
            counts += class_counts(label_map, len(counts))
            frame_count += 1
        if newest:
            newest.close()
    seconds = time.monotonic() - start
    dropped = newest.dropped if newest else 0
    if not frame_count:
        raise ZooError(f"{source}: has no frame that can be decoded; replace it by an intact file")
    lost = f", {dropped} dropped" if args.camera else ""
    note(f"zoo: {frame_count} frames in {seconds:.1f} s, {frame_count / seconds:.3g} a second{lost}")
    return {
        "image": source,
        "labels": str(labels),
        "overlay": str(overlay) if overlay else None,
        "size": f"{size[1]}x{size[0]}",
        "shares": dict(zip(job.key.names, (counts / counts.sum()).tolist(), strict=True)),
        "frames": frame_count,
        "dropped": dropped,
        "fps": frame_count / seconds,
        "source_fps": float(video.rate),
        "smooth": args.smooth or 0.0,
        "backend": job.engine.backend,
        **job.taken.document(),
    }


def _taken(args: Arguments, video: "Video") -> "tuple[Iterator[Frame], Newest[Frame] | None]":
    """Frames in the order in which they are segmented, as many as were asked for, and what drops those of a camera."""
    from zoo.inference.buffers import Newest, ahead

    newest = Newest(video.frames) if args.camera else None
    frames = newest or ahead(video.frames)
    return islice(_until_interrupted(frames), args.frames), newest


def _until_interrupted(frames: "Iterator[Frame]") -> "Iterator[Frame]":
    """Ctrl-C ends a camera's frames; what was written until then is kept."""
    try:
        yield from frames
    except KeyboardInterrupt:
        note("zoo: interrupted; the frames so far are kept")


def _shown(frames: "Iterator[Frame]", video: "Video", newest: "Newest[Frame] | None") -> "Iterator[Frame]":
    """The frames, with their number and how many a second on a terminal's stderr."""
    start, last = time.monotonic(), 0.0
    for number, frame in enumerate(frames, 1):
        yield frame
        now = time.monotonic()
        if sys.stderr.isatty() and now - last > SHOWN_EVERY_S:
            last = now
            whole = f" of {video.count}" if video.count else ""
            lost = f", {newest.dropped} dropped" if newest else ""
            print(f"\rframe {number}{whole}, {number / (now - start):.1f} a second{lost} ", end="", file=sys.stderr)
    if last:
        print(file=sys.stderr)
