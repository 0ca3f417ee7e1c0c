"""Renderer of moving-digits clips: glyphs that move over clutter, with known boxes.

All randomness comes from Python's Mersenne Twister, seeded with text, whose ``random()`` is guaranteed to stay the same
across Python versions; pixels are computed with integers only. A clip is therefore identical on every machine.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

import numpy as np

from vidcore.errors import OptionError
from vidcore.ranges import check_choice, check_ranges

VERSION = 1
"""Version of the renderer; increase it with each change that alters a frame or a sound."""

Decides = Literal["glyph", "motion", "sound"]

GLYPHS = tuple("0123456789")
"""Class names for ``decides=glyph`` and ``decides=sound``."""

MOTIONS = (
    "right",
    "left",
    "down",
    "up",
    "clockwise",
    "anticlockwise",
    "zigzag_right",
    "zigzag_left",
    "spiral_out",
    "spiral_in",
)
"""Five pairs, each one motion and its reverse: a model that ignores frame order is right half of the time at best."""

AUDIO_RATE = 16_000

_FONT = """
.###. ..#.. .###. .###. ...#. ##### ..##. ##### .###. .###.
#...# .##.. #...# #...# ..##. #.... .#... ....# #...# #...#
#..## ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...#
#.#.# ..#.. ...#. ..##. #..#. ....# ####. ..#.. .###. .####
##..# ..#.. ..#.. ....# ##### ....# #...# .#... #...# ....#
#...# ..#.. .#... #...# ...#. #...# #...# .#... #...# ...#.
.###. .###. ##### .###. ...#. .###. .###. .#... .###. .##..
"""
_ROWS, _COLUMNS = 7, 5
_BITMAPS = np.array([[[c == "#" for c in word] for word in line.split()] for line in _FONT.split("\n") if line])
_BITMAPS = _BITMAPS.transpose(1, 0, 2)  # (10, 7, 5)

_SUPER = 4
"""Positions and coverage are computed in quarters of a pixel."""

_NOTES = (523.25, 622.25, 739.99, 880.0, 1046.5)
"""Frequencies in Hz; each class has one of their ten rising pairs."""
_MOTIFS = tuple((low, high) for i, low in enumerate(_NOTES) for high in _NOTES[i + 1 :])


@dataclass(frozen=True)
class DigitOptions:
    """Options of the clips; together with the seed they determine every frame.

    Args:
        decides: What determines the class: ``glyph`` (which of ten digits), ``motion`` (which of ten motions), or
            ``sound`` (which digit; in some segments the picture shows it while the sound is noise, in the others two
            notes identify it while the picture shows a random glyph). Default: ``glyph``.
        frame_size: Height and width of the frame in pixels, even. Default: 64.
        glyph_size: Mean height of the glyph in pixels; varies by a sixth. Default: 24.
        num_frames: Frames per clip. Default: 32.
        fps: Frames per second. Default: 16.
        blur: Share of the frames, in [0, 1], in which the glyph is blurred along its motion. Default: 0.
        occlusion: Share of the frames, in [0, 1], consecutive, in which a bar covers three fifths of the glyph.
            Default: 0.
        clutter: Share of the frame, in [0, 1], that is covered by fragments of glyph-like strokes. Default: 0.2.
        off_centre: Keep the glyph in one random quarter of the frame per clip. Default: False.
        segments: Number of segments of equal length; with ``decides=sound``, each shows either the picture or the sound
            of the digit. Default: 4.
        seed: Random seed of the clips. Default: 0.

    Raises:
        OptionError: A value is out of range or not among its choices, or the glyph does not fit.
    """

    decides: Decides = "glyph"
    frame_size: int = 64
    glyph_size: int = 24
    num_frames: int = 32
    fps: int = 16
    blur: float = 0.0
    occlusion: float = 0.0
    clutter: float = 0.2
    off_centre: bool = False
    segments: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("decides", self.decides, get_args(Decides))
        ranges = dict.fromkeys(("num_frames", "segments"), "[1, 100000]") | {"fps": "[1, 1000]"}
        ranges |= dict.fromkeys(("blur", "occlusion", "clutter"), "[0, 1]") | {"frame_size": "[16, 8192]"}
        check_ranges(vars(self), ranges)
        for name in ("blur", "occlusion", "clutter"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.segments > self.num_frames:
            raise OptionError(f"segments must be at most num_frames {self.num_frames}, got {self.segments}")
        if self.frame_size % 2:
            raise OptionError(f"frame_size must be even, for H.264, got {self.frame_size}")
        room = self.frame_size // 2 if self.off_centre else self.frame_size
        largest = room * 3 // 4
        if not 7 <= self.glyph_size <= largest:
            raise OptionError(
                f"glyph_size must be between 7 and {largest} for a frame of {self.frame_size}"
                f"{' with off_centre' if self.off_centre else ''}, to be readable and to move, got {self.glyph_size}"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the ten classes."""
        return MOTIONS if self.decides == "motion" else GLYPHS


@dataclass(frozen=True)
class DigitClip:
    """A clip and its ground truth.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        label: Class index.
        glyph: Index of the digit.
        motion: One of ``MOTIONS``.
        boxes: (T, 4) float32 x1, y1, x2, y2 in pixels: extent of the glyph in each frame, including its blur and its
            hidden part.
        blurred: (T,) bool: whether the glyph is blurred.
        hidden: (T,) bool: whether a bar covers most of the glyph.
        telling: For each segment ``picture`` or ``sound``: which of them identifies the class.
        audio: (N,) float32 in [-1, 1] at 16 kHz for ``decides=sound``, otherwise None.
    """

    frames: np.ndarray
    label: int
    glyph: int
    motion: str
    boxes: np.ndarray
    blurred: np.ndarray
    hidden: np.ndarray
    telling: tuple[str, ...]
    audio: np.ndarray | None = None


def draw_clip(options: DigitOptions, split: str, index: int) -> DigitClip:
    """Render clip ``index`` of ``split``. Its class is ``index % 10``, so any ten consecutive clips are balanced."""
    # One random stream per part, so that an option changes only its own part.
    streams = {
        part: Random(f"moving_digits/{VERSION}/{options.seed}/{split}/{index}/{part}")  # noqa: S311
        for part in ("content", "shape", "path", "colour", "clutter", "blur", "occlusion", "sound")
    }
    size, count = options.frame_size, options.num_frames
    label = index % 10
    other = _integer(streams["content"], 10)
    glyph, motion = (other, MOTIONS[label]) if options.decides == "motion" else (label, MOTIONS[other])
    telling = _telling(options, streams["sound"])

    shape = streams["shape"]
    height = round(options.glyph_size * _SUPER * _between(shape, 5 / 6, 7 / 6))
    slant = _between(shape, -0.2, 0.2)
    mask = _shape(_BITMAPS[glyph], height, slant)
    meaningless = _shape(_random_bitmap(shape), height, slant)
    segment_of = np.arange(count) * options.segments // count
    masks = [mask if telling[segment] == "picture" else meaningless for segment in segment_of]

    corners, direction = _path(options, motion, mask.shape, streams["path"])
    blurred = _scattered(streams["blur"], count, options.blur)
    hidden = _stretch(streams["occlusion"], count, options.occlusion)

    background, ink, bar_colour = _colours(options, streams["colour"])
    _draw_clutter(background, options, streams["clutter"])
    frames = np.repeat(background[None], count, axis=0)
    boxes = np.zeros((count, 4), dtype=np.float32)
    bar_side = _integer(streams["occlusion"], 4)
    for t in range(count):
        steps = np.arange(-8, 9) / 8 * (0.4 * height) if blurred[t] else np.zeros(1)
        coverage = np.zeros((size, size), dtype=np.int32)
        for step in steps:
            x, y = (int(np.rint(corner + step * along)) for corner, along in zip(corners[t], direction[t], strict=True))
            where, parts = _stamp(masks[t], x, y, size)
            coverage[where] += parts
        ys, xs = np.nonzero(coverage)
        x1, y1, x2, y2 = boxes[t] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
        where = slice(y1, y2), slice(x1, x2)
        _blend(frames[t][where], coverage[where], ink, full=_SUPER * _SUPER * len(steps))
        if hidden[t]:
            _cover(frames[t], boxes[t].astype(int), bar_side, bar_colour)
    audio = _audio(options, label, telling, streams["sound"]) if options.decides == "sound" else None
    return DigitClip(frames.astype(np.uint8), label, glyph, motion, boxes, blurred, hidden, telling, audio)


def _between(rng: Random, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _integer(rng: Random, below: int) -> int:
    return int(rng.random() * below)


def _random_bitmap(rng: Random) -> np.ndarray:
    return np.array([[rng.random() < 0.5 for _ in range(_COLUMNS)] for _ in range(_ROWS)])


def _shape(bitmap: np.ndarray, height: int, slant: float) -> np.ndarray:
    """Return a bitmap scaled to ``height`` and slanted: a bool mask in quarters of a pixel, cropped to its ink."""
    width = height * _COLUMNS // _ROWS
    y, x = np.mgrid[:height, : width + int(abs(slant) * height) + 1]
    shift = np.rint(slant * y).astype(int) - min(0, round(slant * (height - 1)))
    column, row = (x - shift) * _COLUMNS // width, y * _ROWS // height
    mask = (column >= 0) & (column < _COLUMNS)
    mask &= bitmap[row, np.clip(column, 0, _COLUMNS - 1)]
    ys, xs = np.nonzero(mask)
    return mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]


def place(motion: str, time: float, phase: float) -> tuple[float, float]:
    """Return the position of a glyph, right and down in [-1, 1], at ``time`` in [0, 1] of a clip.

    ``phase`` in [0, 1) is the start angle of circles and spirals, and shifts zigzags. Of two motions that are a pair in
    ``MOTIONS``, one is the other at ``1 - time``.
    """
    number = MOTIONS.index(motion)
    if number % 2:
        motion, time = MOTIONS[number - 1], 1 - time
    if motion == "right":
        return 2 * time - 1, 0.0
    if motion == "down":
        return 0.0, 2 * time - 1
    if motion == "zigzag_right":
        return 2 * time - 1, 0.7 * (4 * abs((2 * time + phase) % 1 - 0.5) - 1)
    turns, radius = (1.0, 1.0) if motion == "clockwise" else (1.5, time)
    angle = 2 * math.pi * (turns * time + phase)
    return radius * math.cos(angle), radius * math.sin(angle)


def _path(options: DigitOptions, motion: str, shape: tuple[int, ...], rng: Random) -> tuple[np.ndarray, np.ndarray]:
    """Return the glyph's top left corners (T, 2) x, y in quarters of a pixel, and unit directions of motion (T, 2)."""
    size = options.frame_size * _SUPER
    room = size // 2 if options.off_centre else size
    quarter = [_integer(rng, 2) * (size - room) if options.off_centre else 0 for _ in range(2)]
    slack = np.array([room - shape[1], room - shape[0]])
    scale, phase = _between(rng, 0.75, 1.0), rng.random()
    where = [rng.random(), rng.random()]
    times = (np.arange(options.num_frames + 2) - 1) / max(options.num_frames - 1, 1)
    path = np.array([place(motion, time, phase) for time in times]) * slack / 2 * scale
    steps = path[2:] - path[:-2]
    length = np.sqrt(steps[:, :1] ** 2 + steps[:, 1:] ** 2)
    path = path[1:-1]
    low, high = path.min(axis=0), path.max(axis=0)
    origin = np.array(quarter) - low + np.array(where) * np.maximum(slack - (high - low), 0)
    return np.rint(path + origin), steps / np.maximum(length, 1e-6)


def _stretch(rng: Random, count: int, share: float) -> np.ndarray:
    """Return (count,) bool with one random run of frames, of the given share."""
    length = round(count * share)
    first = _integer(rng, count - length + 1)
    frames = np.arange(count)
    return (frames >= first) & (frames < first + length)


def _scattered(rng: Random, count: int, share: float) -> np.ndarray:
    """Return (count,) bool with random single frames, of the given share."""
    order = sorted(range(count), key=lambda _: rng.random())
    chosen = np.zeros(count, dtype=bool)
    chosen[order[: round(count * share)]] = True
    return chosen


def _telling(options: DigitOptions, rng: Random) -> tuple[str, ...]:
    """Choose what identifies the class in each segment; a third of the clips each: picture, sound, or random."""
    kind = _integer(rng, 3)
    each = [rng.random() < 0.5 for _ in range(options.segments)]
    if options.decides != "sound" or kind == 0:
        return ("picture",) * options.segments
    return ("sound",) * options.segments if kind == 1 else tuple("sound" if sound else "picture" for sound in each)


def _colour(rng: Random, lightness: float) -> np.ndarray:
    """Return (3,) int32 RGB of random hue and saturation."""
    rgb = colorsys.hls_to_rgb(rng.random(), lightness, _between(rng, 0.1, 0.8))
    return np.array([round(255 * value) for value in rgb], dtype=np.int32)


def _colours(options: DigitOptions, rng: Random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the background (H, W, 3), a gradient between four corners, and the colours of the glyph and of the bar."""
    dark = rng.random() < 0.5
    lightness = _between(rng, 0.1, 0.35)
    contrast = _between(rng, 0.35, 0.55)
    ground, glyph = (lightness, lightness + contrast) if dark else (1 - lightness, 1 - lightness - contrast)
    base = _colour(rng, ground)
    corners = np.clip(base + np.array([[_integer(rng, 49) - 24 for _ in range(3)] for _ in range(4)]), 0, 255)
    size = options.frame_size
    x, y = np.arange(size)[None, :, None], np.arange(size)[:, None, None]
    top = corners[0] * (size - x) + corners[1] * x
    bottom = corners[2] * (size - x) + corners[3] * x
    background = (top * (size - y) + bottom * y) // (size * size)
    return background.astype(np.int32), _colour(rng, glyph), _colour(rng, _between(rng, 0.35, 0.65))


def _draw_clutter(background: np.ndarray, options: DigitOptions, rng: Random) -> None:
    """Draw fragments of strokes as wide as the glyph's, in colours close to the background's."""
    size = options.frame_size
    side = options.glyph_size * 3 // 7
    for _ in range(round(options.clutter * size * size / (side * side))):
        scrap = _random_bitmap(rng)
        scrap[:, 3:] = scrap[3:] = False
        scrap[1, 1] = True
        mask = _shape(scrap, options.glyph_size * _SUPER, _between(rng, -0.2, 0.2))
        x, y = (_integer(rng, (size + side) * _SUPER) - side * _SUPER for _ in range(2))
        where, parts = _stamp(mask, x, y, size)
        tint = np.array([_integer(rng, 2) * 2 - 1 for _ in range(3)]) * (20 + _integer(rng, 30))
        centre = background[min(max(y // _SUPER, 0), size - 1), min(max(x // _SUPER, 0), size - 1)]
        _blend(background[where], parts, np.clip(centre + tint, 0, 255), full=_SUPER * _SUPER)


def _stamp(mask: np.ndarray, x: int, y: int, size: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the slices of a frame that a mask at ``x``, ``y`` (in quarters) covers, and their coverage in 16ths."""
    left, top = x // _SUPER, y // _SUPER
    dx, dy = x - left * _SUPER, y - top * _SUPER
    height, width = -(-(mask.shape[0] + dy) // _SUPER), -(-(mask.shape[1] + dx) // _SUPER)
    fine = np.zeros((height * _SUPER, width * _SUPER), dtype=np.int32)
    fine[dy : dy + mask.shape[0], dx : dx + mask.shape[1]] = mask
    parts = fine.reshape(height, _SUPER, width, _SUPER).sum(axis=(1, 3))
    y1, y2 = max(top, 0), max(min(top + height, size), 0)
    x1, x2 = max(left, 0), max(min(left + width, size), 0)
    return (slice(y1, y2), slice(x1, x2)), parts[y1 - top : y2 - top, x1 - left : x2 - left]


def _blend(image: np.ndarray, coverage: np.ndarray, colour: np.ndarray, full: int) -> None:
    share = coverage[:, :, None]
    image[:] = (image * (full - share) + colour * share + full // 2) // full


def _cover(image: np.ndarray, box: np.ndarray, side: int, colour: np.ndarray) -> None:
    """Draw a bar over three fifths of the box, from the left, right, top or bottom."""
    x1, y1, x2, y2 = box
    width, height = -(-(x2 - x1) * 3 // 5), -(-(y2 - y1) * 3 // 5)
    if side == 0:
        x2 = x1 + width
    elif side == 1:
        x1 = x2 - width
    elif side == 2:
        y2 = y1 + height
    else:
        y1 = y2 - height
    image[max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1] = colour


def _audio(options: DigitOptions, label: int, telling: tuple[str, ...], rng: Random) -> np.ndarray:
    """Return two notes over faint noise in segments with sound, loud noise in the others."""
    total = round(options.num_frames / options.fps * AUDIO_RATE)
    noise = np.random.RandomState(_integer(rng, 2**32)).random_sample(total) * 2 - 1
    detune, loudness = _between(rng, 0.99, 1.01), _between(rng, 0.3, 0.6)
    audio = np.empty(total)
    for segment, source in enumerate(telling):
        begin, end = total * segment // options.segments, total * (segment + 1) // options.segments
        if source == "picture":
            audio[begin:end] = loudness * noise[begin:end]
            continue
        audio[begin:end] = 0.05 * noise[begin:end]
        middle = (begin + end) // 2
        for first, last, pitch in zip((begin, middle), (middle, end), _MOTIFS[label], strict=True):
            time = np.arange(last - first) / AUDIO_RATE
            fade = np.clip(np.minimum(time, time[::-1]) / 0.01, 0, 1)
            wave = np.sin(2 * np.pi * pitch * detune * time) + 0.3 * np.sin(4 * np.pi * pitch * detune * time)
            audio[first:last] += loudness / 1.3 * fade * wave
    return np.clip(audio, -1, 1).astype(np.float32)
