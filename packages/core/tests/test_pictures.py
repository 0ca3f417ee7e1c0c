"""Pictures of every kind are read as Pillow shows them, and one that cannot be read is one row."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from test_decoder import X264, make, picture

from vidcore import ClipSpec, Sample, Task
from vidcore.reading.dataset import VideoDataset
from vidcore.video import VideoError, open_video
from vidcore_datasets.checking.check import check_file
from vidcore_datasets.preparing.jobs import Settings
from vidcore_datasets.preparing.plan import jobs_of
from vidcore_datasets.preparing.run import do
from vidcore_datasets.preparing.samples import write_samples

HEIGHT, WIDTH = 24, 40


@pytest.fixture(scope="module")
def colour() -> Image.Image:
    return Image.fromarray(picture(3, HEIGHT, WIDTH))


def read(path: Path) -> np.ndarray:
    """(H, W, 3): the only frame."""
    with open_video(path) as video:
        frames = video.frames([0])
        assert frames.dtype == torch.uint8 and frames.shape == (1, 3, *video.size)
        return frames[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_is_turned_upright(tmp_path, colour, ending, orientation):
    path = tmp_path / f"turned.{ending}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    colour.save(path, exif=exif, lossless=True)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    assert expected.shape[0] == (WIDTH if 5 <= orientation <= 8 else HEIGHT)
    assert np.array_equal(read(path), expected)


def test_damaged_exif_data_are_ignored(tmp_path, colour):
    for number, exif in enumerate([b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"]):
        path = tmp_path / f"{number}.jpg"
        colour.save(path, exif=exif)
        assert read(path).shape == (HEIGHT, WIDTH, 3)


def test_frames_that_are_turned_have_one_size(tmp_path, colour):
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(3):
        colour.save(tmp_path / f"{number}.jpg", exif=exif)
    with open_video(tmp_path) as video:
        assert video.size == (WIDTH, HEIGHT)
        assert video.frames([2, 0, 0]).shape == (3, 3, WIDTH, HEIGHT)
    colour.save(tmp_path / "1.jpg")
    with open_video(tmp_path) as video, pytest.raises(VideoError, match=r"1\.jpg is 40 × 24 pixels, the first"):
        video.frames([0, 1])


def of_mode(colour: Image.Image, mode: str) -> Image.Image:
    alpha = Image.linear_gradient("L").resize(colour.size)
    if mode == "LA":
        return Image.merge("LA", (colour.convert("L"), alpha))
    if mode == "RGBA":
        return Image.merge("RGBA", (*colour.split(), alpha))
    return colour.quantize(16) if mode == "P" else colour.convert(mode)


KINDS = {
    "grey.jpg": ("L", {}),
    "progressive.jpg": ("RGB", {"progressive": True}),
    "subsampled.jpg": ("RGB", {"subsampling": "4:2:0"}),
    "cmyk.jpg": ("CMYK", {}),
    "grey.png": ("L", {}),
    "grey_transparent.png": ("L", {"transparency": 7}),
    "bits.png": ("1", {}),
    "grey_alpha.png": ("LA", {}),
    "palette.png": ("P", {}),
    "palette_two_bits.png": ("P", {"bits": 4}),
    "palette_transparent.png": ("P", {"transparency": 3}),
    "palette_alpha.png": ("P", {"transparency": bytes(range(0, 256, 16))}),
    "alpha.png": ("RGBA", {}),
    "transparent.png": ("RGB", {"transparency": (1, 2, 3)}),
    "lossy.webp": ("RGB", {}),
    "alpha.webp": ("RGBA", {"lossless": True, "exact": True}),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", KINDS)
def test_a_picture_of_every_kind_is_rgb(tmp_path, colour, name):
    mode, options = KINDS[name]
    path = tmp_path / name
    of_mode(colour, mode).save(path, **options)
    shown = Image.open(path)
    if mode == "P":
        shown.info.pop("transparency", None)
    assert np.array_equal(read(path), np.asarray(shown.convert("RGB")))


def test_ycck(tmp_path, colour):
    path = tmp_path / "ycck.jpg"
    colour.convert("CMYK").save(path)
    data = bytearray(path.read_bytes())
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data[transform] = 2
    path.write_bytes(data)
    assert np.array_equal(read(path), np.asarray(Image.open(path).convert("RGB")))


def write_png(path: Path, values: np.ndarray, colour_type: int) -> None:
    """Writes values (H, W, C) with 16 bits each."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">2I5B", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (3, 2), (2, 4), (4, 6)])
def test_sixteen_bits_become_eight(tmp_path, channels, colour_type):
    values = np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH, channels))
    write_png(tmp_path / "deep.png", values, colour_type)
    expected = (values >> 8)[..., : 3 if channels > 2 else 1]
    assert np.array_equal(read(tmp_path / "deep.png"), np.broadcast_to(expected, (HEIGHT, WIDTH, 3)))


def test_the_name_does_not_matter(tmp_path, colour):
    for number, ending in enumerate(("jpeg", "png", "webp", "gif")):
        path = tmp_path / f"{number}.jpg"
        colour.save(path, format=ending)
        assert np.array_equal(read(path), np.asarray(Image.open(path).convert("RGB")))
    (tmp_path / "x.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(VideoError, match=r"x\.jpg: cannot be decoded: is not a JPEG, PNG, WebP or GIF file"):
        open_video(tmp_path / "x.jpg")


def test_animated_pictures_are_refused_by_name(tmp_path):
    frames = [Image.fromarray(picture(number, HEIGHT, WIDTH)) for number in range(5)]
    for ending in ("png", "webp"):
        path = tmp_path / f"animated.{ending}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
        with pytest.raises(VideoError, match=rf"animated\.{ending}: .* animated {ending.upper()} of 5 frames"):
            open_video(path)
        assert check_file(str(path)).status == "error"
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:], duration=40)
    with open_video(tmp_path / "animated.gif") as video, Image.open(tmp_path / "animated.gif") as reference:
        assert video.num_frames == reference.n_frames == 5
        for number in (4, 0, 2):
            reference.seek(number)
            shown = np.asarray(reference.convert("RGB"))
            assert np.array_equal(video.frames([number])[0].permute(1, 2, 0).numpy(), shown)


def bomb(path: Path) -> Path:
    """A PNG file whose header says 30000 × 30000."""
    Image.new("L", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    struct.pack_into(">2I", data, 16, 30000, 30000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    path.write_bytes(data)
    return path


def broken(folder: Path, colour: Image.Image) -> list[Path]:
    """Pictures that cannot be read."""
    colour.save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-100])
    colour.save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-100])
    (folder / "empty.webp").touch()
    (folder / "text.jpg").write_text("no picture")
    (folder / "riff.webp").write_bytes(b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff")
    (folder / "head.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")
    (folder / "head.jpg").write_bytes(b"\xff\xd8\xff")
    bomb(folder / "bomb.png")
    return sorted(folder.iterdir())


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_read_is_an_error_and_nothing_else(tmp_path, colour):
    paths = broken(tmp_path, colour)
    dataset = VideoDataset([Sample(path) for path in paths], None, ClipSpec(frames=1, size=16))
    for index, path in enumerate(paths):
        errors = dataset[index]["errors"]
        assert list(errors) == [str(path)]
        error = errors[str(path)]
        assert error.startswith(f"{path}: cannot be decoded: ") and "\n" not in error
    assert (
        "declares 900000000 pixels per picture or video frame, more than VID_MAX_PIXELS"
        in dataset[0]["errors"][str(paths[0])]
    )
    assert check_file(str(paths[0])).status == "error"


def test_a_limit_on_pixels_can_be_raised(tmp_path, colour, monkeypatch):
    colour.save(tmp_path / "a.png")
    monkeypatch.setenv("VID_MAX_PIXELS", str(HEIGHT * WIDTH - 1))
    with pytest.raises(VideoError, match="declares 960 pixels per picture"):
        open_video(tmp_path / "a.png")
    monkeypatch.setenv("VID_MAX_PIXELS", str(HEIGHT * WIDTH))
    monkeypatch.setenv("VID_MAX_CLIP_PIXELS", str(2 * HEIGHT * WIDTH))
    with open_video(tmp_path / "a.png") as video:
        assert len(video.frames([0, 0])) == 2
        with pytest.raises(VideoError, match="declares 2880 pixels in the frames"):
            video.frames([0, 0, 0])


def test_a_rate_that_is_none(tmp_path, colour):
    colour.save(tmp_path / "0.jpg")
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(VideoError, match="fps must be positive, got"):
            open_video(tmp_path, fps=fps)


@pytest.mark.parametrize("form", ["video", "frames", "shards"])
def test_what_is_read_is_prepared(tmp_path, colour, form):
    if form == "shards":
        pytest.importorskip("litdata")
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(source / "turned.jpg", exif=exif)
    for name in ("cmyk.jpg", "palette_alpha.png", "alpha.webp", "bits.png"):
        of_mode(colour, KINDS[name][0]).save(source / name, **KINDS[name][1])
    write_png(source / "deep.png", np.full((HEIGHT, WIDTH, 1), 40_000), 0)
    names = sorted(path.name for path in source.iterdir())
    bomb(source / "bomb.png")
    samples = {"train": [Sample(source / name, 0, name) for name in [*names, "bomb.png"]]}
    settings = Settings(form, str(target))
    results = [do(settings, job) for job in jobs_of(samples, settings)]
    assert not any(result.failure for result in results)
    unreadable = {path: reason for result in results for path, reason in result.unreadable.items()}
    assert list(unreadable) == [str(source / "bomb.png")]
    assert write_samples(samples, Task.numbered(2), settings, results) == 1
    rows = [json.loads(line) for line in (target / "samples.jsonl").read_text().splitlines()[1:]]
    assert [row["id"] for row in rows] == names
    for row in rows:
        with open_video(source / row["id"]) as before, open_video(f"{target}/{row['path']}") as after:
            assert after.size == before.size and after.num_frames == 1
            difference = (before.frames([0]).int() - after.frames([0]).int()).abs().float().mean()
            assert difference <= (0 if form == "shards" else 24)


@pytest.mark.parametrize("stretch", ["0-10", "5-5", "9-3", "0-999999999999", "999999999999999999-9999999999999999999"])
def test_a_stretch_that_is_not_there(tmp_path, stretch):
    video = make(tmp_path / "shard.mp4", "libx264", count=2, options=X264)
    for path in (f"{video}#bytes={stretch}", f"{video}#bytes={stretch}.jpg", f"file://{video}#bytes={stretch}"):
        dataset = VideoDataset([Sample(path)], None, ClipSpec(frames=1, size=16))
        assert path in dataset[0]["errors"]


def test_a_picture_at_a_url_and_in_a_stretch(tmp_path, colour):
    colour.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "shard.bin").write_bytes(bytes(10) + data + bytes(10))
    for path in (f"file://{tmp_path}/a.png", f"{tmp_path}/shard.bin#bytes=10-{10 + len(data)}.png"):
        assert np.array_equal(read(path), np.asarray(colour))


def test_a_task_with_pictures(tmp_path, colour):
    colour.save(tmp_path / "a.jpg")
    dataset = VideoDataset(
        [Sample(tmp_path / "a.jpg", 1)], Task.numbered(2), ClipSpec(frames=4, size=16, modalities=("rgb", "audio"))
    )
    item = dataset[0]
    assert item["inputs"]["rgb"].shape == (1, 3, 4, 16, 16) and item["present"] == {"audio": False}
