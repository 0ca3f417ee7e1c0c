"""Hand-computed indices for each mode, and what must hold for any video and spec."""

import itertools

import numpy as np
import pytest

from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.video.sampling import audio_middles, audio_windows, clip_indices, middle_times


def at_rate(count: int, rate: float = 25.0) -> np.ndarray:
    return np.arange(count) / rate


def pick(count: int, segments: int = 1, frames: int = 1, stride: int = 1, **options) -> list[int]:
    spec = ClipSpec(segments=segments, frames=frames, stride=stride, fps=options.pop("fps", None))
    return clip_indices(at_rate(count), spec, **options).tolist()


@pytest.mark.parametrize(
    ("count", "segments", "frames", "stride", "expected"),
    [
        (10, 1, 1, 1, [5]),
        (20, 4, 1, 1, [2, 7, 12, 17]),
        (20, 8, 1, 1, [1, 3, 6, 8, 11, 13, 16, 18]),  # middles 1.25, 3.75, ...
        (3, 6, 1, 1, [0, 0, 1, 1, 2, 2]),  # fewer frames than segments
        (1, 4, 1, 1, [0, 0, 0, 0]),
        (10, 1, 4, 1, [3, 4, 5, 6]),
        (11, 1, 4, 1, [3, 4, 5, 6]),
        (20, 1, 4, 5, [0, 5, 10, 15]),
        (17, 1, 4, 5, [0, 5, 10, 15]),  # four strides do not fit, the four frames do
        (30, 1, 4, 5, [5, 10, 15, 20]),
        (40, 2, 4, 2, [6, 8, 10, 12, 26, 28, 30, 32]),  # middles 10 and 30, less 4
        (12, 3, 6, 1, [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 6, 7, 8, 9, 10, 11]),  # windows longer than segments
    ],
)
def test_centred(count, segments, frames, stride, expected):
    assert pick(count, segments, frames, stride) == expected


@pytest.mark.parametrize("count", [*range(1, 40), 250, 251])
@pytest.mark.parametrize(("frames", "stride"), [(4, 3), (50, 5), (8, 1), (5, 4)])
def test_a_dense_clip_is_movinets(count, frames, stride):
    offset = max(0, (count - frames * stride) // 2)
    expected = [(offset + stride * step) % count for step in range(frames)]
    assert pick(count, 1, frames, stride) == expected


@pytest.mark.parametrize(("count", "segments"), [(10, 3), (100, 8), (25, 16), (299, 7), (5, 8)])
def test_one_frame_segments_are_tsns(count, segments):
    tick = count / segments
    assert pick(count, segments) == [int(tick / 2 + tick * index) for index in range(segments)]


@pytest.mark.parametrize(
    ("short", "expected"),
    [("loop", [0, 2, 4, 1, 3, 0]), ("clamp", [0, 2, 4, 4, 4, 4])],
)
def test_short_videos(short, expected):
    assert pick(5, 1, 6, 2, short=short) == expected


def test_short_videos_in_training():
    drawn = [pick(5, 1, 6, 2, short="loop", rng=np.random.default_rng(seed)) for seed in range(60)]
    assert {tuple(one) for one in drawn} == {tuple((first + 2 * step) % 5 for step in range(6)) for first in range(5)}
    drawn = [pick(5, 1, 6, 2, short="clamp", rng=np.random.default_rng(seed)) for seed in range(20)]
    assert all(one == [0, 2, 4, 4, 4, 4] for one in drawn)


def test_short_segments_of_a_loop_go_on_from_their_own_place():
    assert pick(6, 2, 8, 1, short="loop") == [0, 1, 2, 3, 4, 5, 0, 1] * 2  # middles 1.5 and 4.5, less 4
    assert pick(8, 2, 10, 1, short="loop") == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2]


def test_views_of_a_dense_clip():
    starts = [pick(100, 1, 10, 2, view=view, views=4)[0] for view in range(4)]
    assert starts == [0, 27, 54, 81]  # 81 + 9 * 2 = 99, the last frame
    assert [pick(9, 1, 9, 1, view=view, views=3) for view in range(3)] == [list(range(9))] * 3


def test_views_of_segments():
    views = [pick(20, 4, view=view, views=5) for view in range(5)]
    assert views[0] == [0, 5, 10, 15]
    assert views[2] == [2, 7, 12, 17]
    assert views[4] == [4, 9, 14, 19]


def test_view_out_of_range():
    with pytest.raises(ValueError, match="view 2 is not among 2"):
        pick(10, view=2, views=2)


def test_start_and_end_in_seconds():
    times = at_rate(100)  # frame 25 at 1 s
    spec = ClipSpec(frames=4)
    assert clip_indices(times, spec, start=1.0, end=1.16).tolist() == [25, 26, 27, 28]
    assert clip_indices(times, spec, start=3.88).tolist() == [97, 98, 99, 97]
    assert clip_indices(times, spec, start=3.88, short="clamp").tolist() == [97, 98, 99, 99]
    assert clip_indices(times, ClipSpec(segments=2, frames=1), end=0.4).tolist() == [2, 7]


@pytest.mark.parametrize(("start", "end"), [(9.0, None), (None, 0.0), (1.01, 1.03)])
def test_empty_stretch(start, end):
    with pytest.raises(UserError, match=rf"start={start} and end={end}.* 100 frames lie at 0 to 3.96"):
        clip_indices(at_rate(100), ClipSpec(), start=start, end=end)


def test_empty_video():
    with pytest.raises(UserError, match="without frames"):
        clip_indices(np.zeros(0), ClipSpec())


@pytest.mark.parametrize("rate", [25.0, 30000 / 1001, 60.0])
@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("count", [7, 60, 61, 253, 1000])
def test_fps_of_a_steady_video_is_a_stride(rate, every, count):
    times = at_rate(count, rate) + 0.2
    for segments, frames in ((1, 8), (3, 4), (5, 1)):
        by_time = ClipSpec(segments=segments, frames=frames, fps=rate / every)
        by_count = ClipSpec(segments=segments, frames=frames, stride=every)
        for view, views, seed in ((0, 1, None), (2, 3, None), (0, 1, 5)):
            got, expected = (
                clip_indices(
                    times, spec, view=view, views=views, rng=None if seed is None else np.random.default_rng(seed)
                )
                for spec in (by_time, by_count)
            )
            assert got.tolist() == expected.tolist()


def test_fps_by_hand():
    assert pick(25, 1, 5, fps=10) == [6, 9, 11, 14, 16]  # 0.24 s on, half-way takes the later
    assert pick(5, 1, 4, fps=50) == [1, 2, 2, 3]  # frames 1, 1.5, 2, 2.5
    assert pick(1, 1, 3, fps=5) == [0, 0, 0]


def test_fps_with_a_variable_frame_rate():
    # One second at 10 Hz, then four at 1 Hz.
    times = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 2, 3, 4, 5])
    spec = ClipSpec(frames=6, fps=1)
    assert clip_indices(times, spec).tolist() == [0, 10, 11, 12, 13, 14]
    assert clip_indices(times, ClipSpec(segments=2, frames=1, fps=1)).tolist() == [10, 13]  # of -0.05 to 5.5 s
    assert clip_indices(times, ClipSpec(segments=2, frames=1)).tolist() == [3, 11]  # by count


def test_fps_frames_are_nearest_in_time():
    rng = np.random.default_rng(0)
    for _ in range(200):
        times = np.cumsum(rng.exponential(0.04, size=rng.integers(30, 300)))
        spec = ClipSpec(segments=int(rng.integers(1, 4)), frames=int(rng.integers(2, 6)), fps=float(rng.uniform(5, 30)))
        if (spec.frames - 1) / spec.fps > times[-1] - times[0]:
            continue
        for window in clip_indices(times, spec, rng=rng).reshape(spec.segments, spec.frames):
            due = times[window[0]] + np.arange(spec.frames) / spec.fps
            off = np.abs(times[window] - due)
            assert np.allclose(off, np.abs(times[:, None] - due).min(axis=0), atol=2e-6)


def test_properties_of_random_specs():
    rng = np.random.default_rng(1)
    for _ in range(1500):
        count = int(rng.integers(1, 200))
        spec = ClipSpec(
            segments=int(rng.integers(1, 9)),
            frames=int(rng.integers(1, 12)),
            stride=int(rng.integers(1, 7)),
            fps=float(rng.uniform(1, 60)) if rng.random() < 0.4 else None,
        )
        times = np.cumsum(rng.uniform(0.01, 0.08, size=count)) + 3
        short = ("clamp", "loop")[int(rng.integers(2))]
        views = int(rng.integers(1, 5))
        options = {"rng": rng} if rng.random() < 0.5 else {"view": int(rng.integers(views)), "views": views}
        start, end = (times[0] + 0.1, times[-1] - 0.1) if rng.random() < 0.3 and count > 50 else (None, None)
        inside = np.flatnonzero((times >= (start or 0)) & (times < (end or np.inf)))
        indices = clip_indices(times, spec, short=short, start=start, end=end, **options)
        assert indices.dtype == np.int64 and indices.shape == (spec.num_frames,)
        assert indices.min() >= inside[0] and indices.max() <= inside[-1]
        windows = indices.reshape(spec.segments, spec.frames)
        assert (np.diff(windows[:, 0]) >= 0).all()
        reach = (spec.frames - 1) * spec.stride
        if spec.fps is None and reach < len(inside):
            assert (np.diff(windows, axis=1) == spec.stride).all()
            for number, window in enumerate(windows):  # the window is inside its segment, or covers it
                low, high = (inside[0] + len(inside) * (number + side) / spec.segments for side in (0, 1))
                inner = low - 0.5 <= window[0] and window[-1] <= high - 0.5
                outer = window[0] <= low + 0.5 and window[-1] >= high - 1.5
                assert inner or outer or "rng" not in options
        elif short == "clamp":
            assert (np.diff(windows, axis=1) >= 0).all()


@pytest.mark.parametrize(
    ("segments", "frames", "stride", "segment", "starts"),
    [(1, 10, 5, 0, range(0, 55)), (4, 1, 1, 2, range(50, 75)), (4, 5, 2, 1, range(25, 42)), (2, 21, 3, 0, range(0, 1))],
)
def test_training_starts_are_uniform(segments, frames, stride, segment, starts):
    rng = np.random.default_rng(2)
    spec = ClipSpec(segments=segments, frames=frames, stride=stride)
    drawn = [clip_indices(at_rate(100), spec, rng=rng)[segment * frames] for _ in range(2500)]
    counts = np.bincount(drawn, minlength=100)
    assert set(np.flatnonzero(counts)) == set(starts)
    expected = len(drawn) / len(starts)
    chi_square = ((counts[list(starts)] - expected) ** 2 / expected).sum()
    freedom = len(starts) - 1
    assert chi_square <= freedom + 5 * np.sqrt(2 * freedom)


def test_training_depends_on_the_generator_alone():
    first, again, other = (pick(200, 8, rng=np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first == again != other


def test_views_spread_from_first_to_last():
    for count, frames, stride in itertools.product((30, 77), (1, 6), (1, 4)):
        clips = [pick(count, 1, frames, stride, view=view, views=6) for view in range(6)]
        assert clips[0][0] == 0 and clips[-1][-1] == count - 1
        steps = np.diff([clip[0] for clip in clips])
        assert steps.max() - steps.min() <= 1


def test_audio_windows():
    spec = ClipSpec(segments=2, audio_seconds=1.0)
    assert audio_windows(8.0, np.array([2.0, 6.0]), spec).tolist() == [1.5, 5.5]
    assert audio_windows(1.5, np.array([0.375, 1.125]), spec).tolist() == [0.0, 0.5]  # shifted inside
    assert audio_windows(0.4, np.array([0.1, 0.3]), spec).tolist() == [0.0, 0.0]


def test_sound_lies_around_the_two_middle_frames():
    spec = ClipSpec(segments=2, frames=8, stride=4)
    indices = np.concatenate([np.arange(10, 42, 4), np.arange(50, 82, 4)])
    # The 4th and the 5th frame of a segment (AdaMML): 22 and 26, 62 and 66.
    assert middle_times(np.arange(100) / 25, indices, spec).tolist() == [24 / 25, 64 / 25]
    assert middle_times(np.arange(9) / 25, np.arange(9), ClipSpec(segments=3, frames=3)).tolist() == [0.04, 0.16, 0.28]


def test_sound_alone_is_cut_in_the_middle_of_each_part_or_at_random():
    spec = ClipSpec(segments=2)
    assert audio_middles(8.0, spec).tolist() == [2.0, 6.0]
    assert [audio_middles(8.0, spec, view=view, views=2).tolist() for view in range(2)] == [[1.0, 5.0], [3.0, 7.0]]
    rng = np.random.default_rng(0)
    drawn = np.stack([audio_middles(8.0, spec, rng=rng) for _ in range(500)])
    assert (drawn // 4 == [0, 1]).all()
    assert np.abs(drawn.mean(0) - [2, 6]).max() < 5 * 4 / 12**0.5 / 500**0.5
