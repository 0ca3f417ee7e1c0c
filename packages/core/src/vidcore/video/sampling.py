"""Which frames and which stretches of sound a clip is made of."""

from __future__ import annotations

from typing import Literal

import numpy as np

from vidcore.clip import ClipSpec
from vidcore.errors import UserError

Short = Literal["clamp", "loop"]

# In seconds, or frames without ``fps``: a moment this close before a frame's begins with it, whatever rounding did.
_TIE = 1e-6


def clip_indices(
    times: np.ndarray,
    spec: ClipSpec,
    *,
    rng: np.random.Generator | None = None,
    view: int = 0,
    views: int = 1,
    start: float | None = None,
    end: float | None = None,
    short: Short = "loop",
) -> np.ndarray:
    """The frames of a clip.

    The stretch of video from ``start`` to ``end`` is cut into S equal segments, by frame count, or by time where
    ``spec.fps`` is set. Each segment gets a window of F frames, whose first frame is

    * with ``rng`` (training) drawn uniformly from all that leave the window inside its segment;
    * without, for one view, such that the window's middle is the segment's: the segment's middle frame for F = 1 (the
      test rule of TSN, Wang et al. 2016), else half of F strides before it (MoViNet's evaluation: in a video of L
      frames ``max(0, (L - F * stride) // 2)``);
    * without, for more views, the same share of the way from the earliest to the latest frame that training can draw.

    A window longer than its segment covers all of it instead, and lies inside the stretch as long as that is long
    enough. If it is not, ``short`` says how the window goes on behind the last frame: ``loop`` begins again at the
    first (MoViNet and AdaMML; training may then start at any frame), ``clamp`` repeats the last frame.

    With ``spec.fps`` each frame is the one nearest in time to its due moment, so variable frame rates come out right;
    the window begins on a frame, and two that are equally near give the later one.

    Args:
        times: (N,) ascending, when each frame of the video is shown, in seconds.
        spec: Gives S, F, and the distance of frames.
        rng: Draws the training offsets; None for evaluation.
        view: Which of the views, from the earliest 0; evaluation only.
        views: How many views evaluation spreads over the video.
        start: Leave out frames before this time in seconds.
        end: Leave out frames from this time in seconds on.
        short: What to do with a stretch shorter than a window.

    Returns:
        (S·F,) int64 indices into ``times``, segment after segment, ascending within a segment unless it loops. Segments
        begin in time order.

    Raises:
        UserError: No frame lies between ``start`` and ``end``.
        ValueError: A view that is not among the views.
    """
    if not 0 <= view < views:
        raise ValueError(f"view {view} is not among {views} views")
    times = np.asarray(times, dtype=np.float64)
    chosen = np.ones(len(times), dtype=bool)
    if start is not None:
        chosen &= times >= start
    if end is not None:
        chosen &= times < end
    kept = np.flatnonzero(chosen)
    if not len(kept):
        known = f"whose {len(times)} frames lie at {times[0]:g} to {times[-1]:g} s" if len(times) else "without frames"
        raise UserError(f"no frame between start={start} and end={end} seconds of a video {known}")

    # A frame is shown around its position: [i - 1/2, i + 1/2) on the frame axis, half-way to its neighbours in time.
    at, step = (np.arange(len(kept), dtype=float), float(spec.stride))
    if spec.fps is not None:
        at, step = times[kept], 1 / spec.fps
    gaps = np.diff(at) if len(at) > 1 else np.array([step])
    middles = (at[1:] + at[:-1]) / 2
    begin, finish = at[0] - gaps[0] / 2, at[-1] + gaps[-1] / 2
    borders = begin + (finish - begin) * np.arange(spec.segments + 1) / spec.segments

    def nearest(points: np.ndarray) -> np.ndarray:
        return np.searchsorted(middles, points + _TIE, side="right")

    reach = (spec.frames - 1) * step  # from a window's first frame to its last
    loops = short == "loop" and reach > finish - begin - _TIE
    room = 0.0 if loops else reach
    latest = max(np.searchsorted(at, finish - room - _TIE) - 1, 0)
    # First and last frame with which a window fits its segment; the other way round, it covers the segment.
    ends = np.stack([np.searchsorted(at, borders[:-1] - _TIE), np.searchsorted(at, borders[1:] - room - _TIE) - 1])
    low, high = np.clip(np.sort(ends, axis=0), 0, latest)
    if rng is not None:
        firsts = np.sort(rng.integers(low, high, endpoint=True))  # windows that overlap may be drawn out of order
    elif views > 1:
        firsts = low + (high - low) * view // (views - 1)
    else:
        half = spec.frames * step / 2 if spec.frames > 1 else 0.0
        firsts = np.clip(nearest((borders[1:] + borders[:-1]) / 2 - half), 0, latest)

    due = at[firsts][:, None] + np.arange(spec.frames) * step
    if loops:
        due = begin + (due - begin) % (finish - begin)
    return kept[nearest(due)].reshape(-1).astype(np.int64)


def audio_middles(
    duration: float, spec: ClipSpec, *, rng: np.random.Generator | None = None, view: int = 0, views: int = 1
) -> np.ndarray:
    """The moments that a clip of sound alone is cut around: one in each of S equal parts.

    Args:
        duration: Seconds of the sound.
        spec: Gives S.
        rng: Draws each uniformly from its part (training); None: in the middle of the part, or of one of as many equal
            shares of it as there are views.
        view: Which of the views, from the earliest 0.
        views: How many there are.

    Returns:
        (S,) float64, in seconds.
    """
    share = (view + 0.5) / views if rng is None else rng.random(spec.segments)
    return (np.arange(spec.segments) + share) * (duration / spec.segments)


def middle_times(times: np.ndarray, indices: np.ndarray, spec: ClipSpec) -> np.ndarray:
    """The moment that the sound of each segment of a clip lies around: half-way between its two middle frames.

    Args:
        times: When each frame of the video is shown, in seconds.
        indices: (S·F,) the clip's frames.
        spec: Gives S and F.

    Returns:
        (S,) float64, in seconds.
    """
    at = np.asarray(times)[indices].reshape(spec.segments, spec.frames)
    return (at[:, (spec.frames - 1) // 2] + at[:, spec.frames // 2]) / 2


def audio_windows(duration: float, middles: np.ndarray, spec: ClipSpec) -> np.ndarray:
    """Where the windows of sound around some moments begin, shifted to lie inside the sound as AdaMML does.

    Where the sound itself is shorter they begin at 0 and end after it: whoever reads them must fill up.

    Args:
        duration: Seconds of the sound, or of the stretch of it that is asked for.
        middles: The moments, in seconds from its beginning.
        spec: Gives the length.

    Returns:
        Seconds from the beginning, of the shape of the middles, never below 0.
    """
    return np.clip(middles - spec.audio_seconds / 2, 0, max(duration - spec.audio_seconds, 0.0))
