"""Choose the frames and audio windows of a clip."""

from __future__ import annotations

from typing import Literal

import numpy as np

from vidcore.clip import ClipSpec
from vidcore.errors import UserError

Short = Literal["clamp", "loop"]

# Tolerance for rounding, in seconds (in frames without ``fps``).
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
    """Choose the frames of a clip.

    The part of the video from ``start`` to ``end`` is divided into S equal segments, by frame count, or by time if
    ``spec.fps`` is set. Each segment gets a window of F frames, whose first frame is

    * with ``rng`` (training): drawn uniformly from all positions at which the window lies inside its segment;
    * without ``rng``, one view: chosen such that the window is centred in its segment: the segment's middle frame for
      F = 1 (test rule of TSN, Wang et al. 2016), otherwise F / 2 strides before the middle (MoViNet's evaluation: for a
      video of L frames ``max(0, (L - F * stride) // 2)``);
    * without ``rng``, several views: spaced evenly from the earliest to the latest position that training can draw.

    A window longer than its segment covers the whole segment and extends beyond it, within the part of the video. If
    the part itself is shorter than the window, ``short`` defines the frames after its end: ``loop`` continues at its
    first frame (MoViNet and AdaMML; training may then start at any frame), ``clamp`` repeats the last frame.

    With ``spec.fps`` each frame is the one nearest to its nominal time, which is exact for variable frame rates; the
    window starts on a frame, and of two equally near frames the later is used.

    Args:
        times: (N,) presentation times of the video's frames in seconds, ascending.
        spec: Clip spec; defines S, F and the stride or rate.
        rng: Random generator for training; None for evaluation.
        view: Index of the view, from 0 (earliest); evaluation only.
        views: Number of views spread over the video in evaluation.
        start: Ignore frames before this time in seconds.
        end: Ignore frames at or after this time in seconds.
        short: Frames after the end of a part that is shorter than a window: ``loop`` or ``clamp``. Default: ``loop``.

    Returns:
        (S·F,) int64 indices into ``times``, segment after segment, ascending within a segment unless it loops. Segments
        are in time order.

    Raises:
        UserError: No frame lies between ``start`` and ``end``.
        ValueError: ``view`` is not in [0, views).
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

    # Frame i covers [i - 1/2, i + 1/2) on the frame axis, or half-way to its neighbours in time.
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
    # First and last frame from which a window fits into its segment; swapped if it is longer than the segment.
    ends = np.stack([np.searchsorted(at, borders[:-1] - _TIE), np.searchsorted(at, borders[1:] - room - _TIE) - 1])
    low, high = np.clip(np.sort(ends, axis=0), 0, latest)
    if rng is not None:
        firsts = np.sort(rng.integers(low, high, endpoint=True))  # overlapping windows may be drawn out of order
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
    """Return the centres of the audio windows of a clip without video: one in each of S equal segments.

    Args:
        duration: Length of the audio in seconds.
        spec: Clip spec; defines S.
        rng: Random generator for training: each centre is drawn uniformly from its segment. None for evaluation: the
            middle of the segment, or of its share number ``view`` of ``views``.
        view: Index of the view, from 0 (earliest).
        views: Number of views.

    Returns:
        (S,) float64, in seconds.
    """
    share = (view + 0.5) / views if rng is None else rng.random(spec.segments)
    return (np.arange(spec.segments) + share) * (duration / spec.segments)


def middle_times(times: np.ndarray, indices: np.ndarray, spec: ClipSpec) -> np.ndarray:
    """Return the time on which the audio window of each segment is centred: half-way between its two middle frames.

    Args:
        times: Presentation times of the video's frames in seconds.
        indices: (S·F,) frames of the clip.
        spec: Clip spec; defines S and F.

    Returns:
        (S,) float64, in seconds.
    """
    at = np.asarray(times)[indices].reshape(spec.segments, spec.frames)
    return (at[:, (spec.frames - 1) // 2] + at[:, spec.frames // 2]) / 2


def audio_windows(duration: float, middles: np.ndarray, spec: ClipSpec) -> np.ndarray:
    """Return the start of each audio window around the given centres, shifted to lie inside the audio as in AdaMML.

    If the audio is shorter than a window, windows start at 0 and end after the audio; the caller must pad them.

    Args:
        duration: Length of the audio, or of the requested part of it, in seconds.
        middles: Centres of the windows, in seconds from the start of the audio.
        spec: Clip spec; defines the length of a window.

    Returns:
        Seconds from the start of the audio, at least 0, in the shape of ``middles``.
    """
    return np.clip(middles - spec.audio_seconds / 2, 0, max(duration - spec.audio_seconds, 0.0))
