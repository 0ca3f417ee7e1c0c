"""Contents of the moving-digits clips."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from vidcore.errors import OptionError
from vidcore_datasets.render_digits import _MOTIFS, AUDIO_RATE, GLYPHS, MOTIONS, DigitOptions, draw_clip, place


def fingerprint(options: DigitOptions, indices: range = range(4)) -> str:
    digest = hashlib.sha256()
    for index in indices:
        digest.update(draw_clip(options, "train", index).frames.tobytes())
    return digest.hexdigest()[:16]


def test_frames_are_pinned() -> None:
    # Change these only together with VERSION: caches and published results depend on them.
    assert fingerprint(DigitOptions()) == "f85bfa6c1fc1736d"
    everything = DigitOptions("sound", blur=0.3, occlusion=0.3, clutter=0.5, off_centre=True, seed=7)
    assert fingerprint(everything) == "2a9179431e975e56"


def test_seed_split_and_index_each_change_the_clip() -> None:
    clips = [
        draw_clip(DigitOptions(seed=seed), split, index).frames.tobytes()
        for seed in (0, 1)
        for split in ("train", "val")
        for index in (0, 10)
    ]
    assert len(set(clips)) == 8


def test_shapes_and_classes() -> None:
    options = DigitOptions(frame_size=48, glyph_size=16, num_frames=9)
    clips = [draw_clip(options, "val", index) for index in range(20)]
    assert all(clip.frames.shape == (9, 48, 48, 3) and clip.frames.dtype == np.uint8 for clip in clips)
    assert [clip.label for clip in clips] == [clip.glyph for clip in clips] == [*range(10)] * 2
    assert len({clip.motion for clip in clips}) > 4, "motion says nothing of the glyph"
    assert options.classes == GLYPHS

    options = DigitOptions("motion", frame_size=48, glyph_size=16, num_frames=9)
    clips = [draw_clip(options, "val", index) for index in range(20)]
    assert [clip.motion for clip in clips] == [options.classes[clip.label] for clip in clips] == [*MOTIONS] * 2
    assert len({clip.glyph for clip in clips}) > 4, "the glyph says nothing of the motion"


def test_a_parts_draws_do_not_depend_on_other_options() -> None:
    plain, blurred = (draw_clip(DigitOptions(blur=blur), "train", 3) for blur in (0.0, 0.5))
    sharp = ~blurred.blurred
    assert sharp.sum() == 16
    assert np.array_equal(plain.frames[sharp], blurred.frames[sharp])
    assert not any(np.array_equal(a, b) for a, b in zip(plain.frames[~sharp], blurred.frames[~sharp], strict=True))


@pytest.mark.parametrize("off_centre", [False, True])
@pytest.mark.parametrize("blur", [0.0, 0.5])
def test_boxes_are_where_the_glyph_is(off_centre: bool, blur: float) -> None:
    for index in range(10):
        clip = draw_clip(DigitOptions(blur=blur, off_centre=off_centre), "train", index)
        # The background is static: pixels that differ from it belong to the glyph.
        ground = np.median(clip.frames, axis=0).astype(int) if index % 10 > 1 else None
        never = np.ones((64, 64), dtype=bool)
        for x1, y1, x2, y2 in clip.boxes.astype(int):
            never[y1:y2, x1:x2] = False
        assert (clip.frames[:, never] == clip.frames[:1, never]).all()
        assert (clip.boxes >= 0).all() and (clip.boxes <= 64).all()
        sizes = clip.boxes[:, 2:] - clip.boxes[:, :2]
        assert (sizes[~clip.blurred, 1] >= 24 * 5 // 6).all() and (sizes[~clip.blurred] <= 30).all()
        if ground is None or off_centre or blur:
            continue
        for frame, (x1, y1, x2, y2) in zip(clip.frames[::8].astype(int), clip.boxes[::8].astype(int), strict=True):
            inside = np.abs(frame - ground).max(axis=2)[y1:y2, x1:x2] > 20
            assert inside.mean() > 0.1


def test_boxes_are_tight() -> None:
    """In neighbouring frames, the pixels that change touch the edges of the boxes."""
    clip = draw_clip(DigitOptions("motion", clutter=0.0), "train", 0)
    assert clip.motion == "right"
    first, last = clip.frames[0].astype(int), clip.frames[-1].astype(int)
    ys, xs = np.nonzero(np.abs(first - last).max(axis=2))
    together = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    # The boxes do not overlap, so the changed pixels span their union, up to one sixteenth of a pixel.
    assert clip.boxes[0, 2] <= clip.boxes[-1, 0]
    union = [*clip.boxes[[0, -1], :2].min(axis=0), *clip.boxes[[0, -1], 2:].max(axis=0)]
    assert np.abs(np.array(together) - union).max() <= 1


def test_off_centre_keeps_to_a_quarter() -> None:
    options = DigitOptions(frame_size=96, glyph_size=24, off_centre=True)
    quarters = set()
    for index in range(40):
        clip = draw_clip(options, "train", index)
        left, top = (clip.boxes[:, edge + 2].max() <= 48 for edge in (0, 1))
        right, bottom = (clip.boxes[:, edge].min() >= 48 for edge in (0, 1))
        assert left != right and top != bottom
        quarters.add((left, top))
    assert len(quarters) == 4


def test_blur_and_occlusion_have_the_share_asked_for() -> None:
    clip = draw_clip(DigitOptions(num_frames=20, blur=0.25, occlusion=0.4), "train", 0)
    assert clip.blurred.sum() == 5 and clip.hidden.sum() == 8
    assert np.abs(np.diff(clip.hidden.astype(int))).sum() <= 2, "one stretch"

    open_, hidden = (draw_clip(DigitOptions(occlusion=share), "train", 5) for share in (0.0, 1.0))
    assert np.array_equal(open_.boxes, hidden.boxes)
    for before, after, (x1, y1, x2, y2) in zip(open_.frames, hidden.frames, open_.boxes.astype(int), strict=True):
        covered = (before != after).any(axis=2)[y1:y2, x1:x2].mean()
        assert 0.5 < covered < 0.8


def test_clutter_covers_about_its_share() -> None:
    plain = draw_clip(DigitOptions(clutter=0.0, frame_size=128), "train", 0).frames[0]
    strewn = draw_clip(DigitOptions(clutter=0.4, frame_size=128), "train", 0).frames[0]
    # Half of each fragment is ink.
    assert 0.1 < (plain != strewn).any(axis=2).mean() < 0.4


@pytest.mark.parametrize("pair", range(5))
def test_motions_are_pairs_that_run_backwards(pair: int) -> None:
    forwards, backwards = MOTIONS[2 * pair : 2 * pair + 2]
    for time in np.linspace(0, 1, 7):
        assert place(forwards, time, 0.3) == pytest.approx(place(backwards, 1 - time, 0.3))
        assert np.abs(place(forwards, time, 0.3)).max() <= 1


@pytest.mark.parametrize(
    ("motion", "direction"), [("right", (1, 0)), ("left", (-1, 0)), ("down", (0, 1)), ("up", (0, -1))]
)
def test_straight_motions(motion: str, direction: tuple[int, int]) -> None:
    clip = draw_clip(DigitOptions("motion", clutter=0.0), "train", MOTIONS.index(motion))
    way = clip.boxes[-1, :2] - clip.boxes[0, :2]
    assert np.dot(way, direction) > 20 and np.abs(way * direction[::-1]).max() <= 1


@pytest.mark.parametrize(("motion", "sense"), [("clockwise", 1), ("anticlockwise", -1)])
def test_circles(motion: str, sense: int) -> None:
    clip = draw_clip(DigitOptions("motion"), "train", MOTIONS.index(motion))
    x, y = ((clip.boxes[:, :2] + clip.boxes[:, 2:]) / 2).T
    # Twice the enclosed area (shoelace); y points down, so clockwise is positive.
    assert sense * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) > 300


def test_sound_and_picture_share_the_telling() -> None:
    options = DigitOptions("sound", num_frames=40, fps=10, segments=5)
    kinds: Counter[str] = Counter()
    for index in range(40):
        clip = draw_clip(options, "train", index)
        assert clip.audio is not None and clip.audio.shape == (4 * AUDIO_RATE,) and np.abs(clip.audio).max() <= 1
        kinds["mixed" if len(set(clip.telling)) == 2 else clip.telling[0]] += 1
        shown = draw_clip(DigitOptions("glyph", num_frames=40, fps=10), "train", index).frames
        for segment, telling in enumerate(clip.telling):
            assert np.array_equal(clip.frames[8 * segment], shown[8 * segment]) == (telling == "picture")
            part = clip.audio[segment * 12800 : (segment + 1) * 12800]
            heard = [np.argmax(np.abs(np.fft.rfft(half))) * AUDIO_RATE / 6400 for half in (part[:6400], part[6400:])]
            right = np.allclose(heard, _MOTIFS[clip.label], rtol=0.02)
            assert right == (telling == "sound")
    assert min(kinds["picture"], kinds["sound"], kinds["mixed"]) >= 5


def test_pictures_that_do_not_tell_are_alike_for_all_classes() -> None:
    """A random glyph has the same distribution for all classes, so that it does not identify the class."""
    inks = []
    for index in range(200):
        clip = draw_clip(DigitOptions("sound", clutter=0.0, num_frames=4), "train", index)
        if set(clip.telling) == {"sound"}:
            inks.append((clip.label, np.prod(clip.boxes[0, 2:] - clip.boxes[0, :2])))
    assert len({label for label, _ in inks}) == 10
    means = [np.mean([area for label, area in inks if label == wanted]) for wanted in range(10)]
    assert max(means) < 1.5 * min(means)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decides": "smell"}, "decides must be one of glyph, motion, sound, got 'smell'"),
        ({"num_frames": 0}, "num_frames must be between 1 and 100000, got 0"),
        ({"blur": 1.5}, "blur must be between 0 and 1, got 1.5"),
        ({"frame_size": 63}, "frame_size must be even, for H.264, got 63"),
        ({"glyph_size": 60}, "glyph_size must be between 7 and 48"),
        ({"glyph_size": 28, "off_centre": True}, "between 7 and 24 for a frame of 64 with off_centre"),
        ({"num_frames": 3}, "segments must be at most num_frames 3, got 4"),
    ],
)
def test_errors(options: dict, message: str) -> None:
    with pytest.raises(OptionError) as error:
        DigitOptions(**options)
    assert message in str(error.value)
