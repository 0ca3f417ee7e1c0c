"""Sound as spectrograms, differences of frames and optical flow, from files to what a model gets."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from small_models import Everything
from test_audio_encode import write_wav
from torch.utils.data import DataLoader

from vidcore.cli import main
from vidcore.clip import ClipSpec
from vidcore.datamodule import VideoDataModule
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample, VideoDataset
from vidcore.task import Task
from vidcore.video.audio import read_audio, read_audio_windows
from vidcore.video.decoder import VideoError, open_video
from vidcore.video.encode import write_video
from vidcore.video.flow import FlowSource, displacements, optical_flow, quantised
from vidcore.video.normalise import normalised
from vidcore.video.pictures import difference
from vidcore.video.spectrogram import mel_filters, spectrogram
from vidcore.video.transforms import Augment, train_transform
from vidcore_deploy.export import export

LOG_POWER = {"audio_rate": 24_000, "audio_seconds": 1.28, "audio_form": "log_power"}
ADAMML = ClipSpec(segments=2, frames=8, stride=4, modalities=("audio",), **LOG_POWER)
MEL = ClipSpec(audio_rate=24_000, audio_seconds=1.28, audio_form="log_mel")


# Spectrograms.


def by_hand(wave: np.ndarray, n_fft: int, window: int, hop: int) -> np.ndarray:
    """The power of each frequency (rows) in each window (columns), by the definition of the discrete transform."""
    hann = np.zeros(n_fft)
    hann[(n_fft - window) // 2 :][:window] = np.sin(np.pi * np.arange(window) / window) ** 2
    padded = np.pad(wave.astype(np.float64), n_fft // 2)
    columns = [padded[start : start + n_fft] * hann for start in range(0, len(padded) - n_fft + 1, hop)]
    turns = np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) % n_fft
    return np.abs(np.exp(-2j * np.pi * turns / n_fft) @ np.array(columns).T) ** 2


def sounds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    t = np.arange(30_720) / 24_000
    return {
        "noise": 0.1 * rng.standard_normal(30_720),
        # In single precision what is quiet beside the tone is off by 0.001.
        "tone": 0.9 * np.sin(2 * np.pi * 1000 * t) + 1e-5 * rng.standard_normal(30_720),
        "chirp that ends": np.where(t < 0.7, 0.5 * np.sin(2 * np.pi * (200 + 3000 * t) * t), 0),
    }


@pytest.mark.parametrize("name", sounds())
def test_log_power_is_its_definition(name):
    wave = sounds()[name].astype(np.float32)
    got = spectrogram(torch.from_numpy(wave).expand(2, 1, -1), ADAMML)
    assert got.shape == (2, 1, 256, 256) and got.dtype == torch.float32
    expected = np.log(by_hand(wave, 511, 240, 120) + 1e-6)
    assert np.abs(got[1, 0].numpy() - expected).max() < 1e-5


def test_log_mel_is_its_definition():
    for name in ("noise", "chirp that ends"):
        wave = sounds()[name].astype(np.float32)
        middles = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + 12_000 / 700), 130) / 2595) - 1)
        at = np.linspace(0, 12_000, 1025)
        filters = np.stack([np.interp(at, middles[band : band + 3], [0, 1, 0]) for band in range(128)])
        expected = np.log(filters @ by_hand(wave, 2048, 600, 240) + 1e-6)
        got = spectrogram(torch.from_numpy(wave), MEL)
        assert got.shape == (128, 129)
        assert np.abs(got.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 44_100, 48_000])
def test_no_mel_band_is_empty(rate):
    assert (mel_filters(rate).amax(1) > 0.3).all()


def test_a_tone_lies_at_its_frequency():
    loudest = spectrogram(torch.from_numpy(sounds()["tone"]), ADAMML).mean(-1).argmax()
    assert loudest == round(1000 / (24_000 / 511)) == 21


@pytest.mark.parametrize("form", ["log_power", "log_mel"])
def test_silence(form):
    spec = ClipSpec(audio_form=form)
    assert torch.equal(spectrogram(torch.zeros(1, 16_000), spec).unique(), torch.tensor([math.log(1e-6)]))


def test_a_spectrogram_is_made_once_and_a_wave_stays():
    wave = torch.rand(1, 2, 30_720)
    once = normalised({"audio": wave}, ADAMML)
    assert once["audio"].shape == (1, 2, 256, 256)
    assert normalised(once, ADAMML)["audio"] is once["audio"]
    assert normalised({"audio": wave}, ClipSpec())["audio"] is wave


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"audio_form": "mfcc"}, "audio_form"),
        ({"audio_form": "log_mel", "audio_rate": 96_000}, "96000"),
        ({"stack": 0}, "stack"),
    ],
)
def test_clip_spec_refuses(fields, says):
    with pytest.raises(ValueError, match=says):
        ClipSpec(**fields)


# Windows of sound.


def test_short_sound_is_repeated(tmp_path):
    wave = torch.rand(1, 9000).numpy() - 0.5
    path = write_wav(tmp_path / "short.wav", wave, 24_000)
    window = read_audio_windows(path, ADAMML)
    tiled = np.tile(wave[0], 4)[:30_720]
    assert window.shape == (2, 30_720)
    assert np.abs(window.numpy() - tiled).max() < 1e-4


def moving(folder: Path, name: str = "moving.mp4", frames: int = 40, sound: bool = True) -> Path:
    """A textured square that moves 2 pixels to the right and 1 down a frame, with sound that says when it is."""
    rng = np.random.default_rng(1)
    texture = torch.from_numpy(rng.integers(0, 256, (12, 12))).repeat_interleave(4, 0).repeat_interleave(4, 1)
    pictures = torch.full((frames, 3, 96, 144), 128, dtype=torch.uint8)
    for number in range(frames):
        x, y = 4 + 2 * number, 2 + number
        pictures[number, :, y : y + 48, x : x + 48] = texture.to(torch.uint8)[: 96 - y, : 144 - x]
    seconds = torch.arange(int(frames / 25 * 24_000)) / 24_000
    wave = 0.4 * torch.sin(2 * math.pi * (200 * seconds + 400 * seconds**2)) if sound else None
    write_video(folder / name, pictures, 25, wave, 24_000, crf=4)
    return folder / name


def test_sound_goes_with_the_frames(tmp_path):
    path = moving(tmp_path, frames=60)
    spec = ClipSpec(segments=2, frames=4, size=32, modalities=("rgb", "audio"), audio_rate=8000, audio_seconds=0.2)
    whole = read_audio(path, 8000)
    dataset = VideoDataset([Sample(str(path))], None, spec, train=True)
    rng, starts = {}, set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidcore.reading.dataset.clip_indices", lambda *a, **k: rng.setdefault("indices", drawn(*a, **k)))
        from vidcore.video.sampling import clip_indices as drawn

        for seed in range(4):
            rng.clear()
            sound = dataset[0, seed]["inputs"]["audio"]
            assert sound.shape == (1, 2, 1600)
            for window, frames in zip(sound[0], rng["indices"].reshape(2, 4), strict=True):
                first = round(((frames[1] + frames[2]) / 2 / 25 - 0.1) * 8000)
                assert torch.allclose(window, whole[first : first + 1600], atol=1e-4)
                starts.add(first)
    assert len(starts) > 4


@pytest.mark.parametrize("audio_alone", [False, True])
def test_views_have_sound_of_their_own(tmp_path, audio_alone):
    modalities = ("audio",) if audio_alone else ("rgb", "audio")
    spec = ClipSpec(frames=2, size=32, modalities=modalities, audio_rate=8000, audio_seconds=0.2)
    dataset = VideoDataset([Sample(str(moving(tmp_path)))], None, spec, views=2, crops=3)
    sound = dataset[0]["inputs"]["audio"]
    assert sound.shape == (6, 1, 1600)
    assert all(torch.equal(sound[row], sound[3 * (row // 3)]) for row in range(6))
    assert not torch.equal(sound[0], sound[3])


def test_what_has_no_sound_is_silent_and_said_to_have_none(tmp_path):
    paths = [moving(tmp_path), moving(tmp_path, "mute.mp4", sound=False)]
    spec = ClipSpec(frames=2, size=16, modalities=("rgb", "audio"), **LOG_POWER)
    dataset = VideoDataset([Sample(str(path)) for path in paths], None, spec)
    batch = next(iter(DataLoader(dataset, 2, collate_fn=dataset.collate)))
    assert batch["present"]["audio"].tolist() == [True, False]
    made = normalised(batch["inputs"], spec)["audio"]
    assert made.shape == (2, 1, 256, 256)
    assert made[0].max() > 0 and torch.equal(made[1].unique(), torch.tensor([math.log(1e-6)]))


# Differences.


def test_a_difference_is_its_formula():
    before, after = (
        torch.arange(256).to(torch.uint8).repeat(256),
        torch.arange(256).to(torch.uint8).repeat_interleave(256),
    )
    expected = ((after.numpy().astype(float) - before.numpy() + 255) / 2).astype(np.uint8)
    assert torch.equal(difference(before, after), torch.from_numpy(expected))


@pytest.mark.parametrize(("start", "end"), [(None, None), (0.4, 1.2), (0.4, 0.44)])
def test_rgbdiff_is_of_the_frames_that_follow(tmp_path, start, end):
    path = moving(tmp_path)
    spec = ClipSpec(segments=3, frames=2, stride=3, size=96, modalities=("rgb", "rgbdiff"))
    item = VideoDataset([Sample(str(path), start=start, end=end)], None, spec)[0]["inputs"]
    assert item["rgb"].shape == (1, 3, 6, 96, 96) and item["rgbdiff"].shape == (1, 15, 6, 96, 96)
    assert item["rgb"].dtype == item["rgbdiff"].dtype == torch.uint8
    with open_video(path) as video:
        frames = video.frames(range(40))[..., 24:120].int().numpy()
    first, last = (0, 39) if start is None else (10, round(end * 25) - 1)
    for time in range(6):
        at = next(i for i in range(40) if np.array_equal(frames[i], item["rgb"][0, :, time].int().numpy()))
        for step in range(5):
            begin = max(first, min(at + step, last - 1))
            expected = ((frames[min(begin + 1, last)] - frames[begin] + 255) / 2).astype(np.uint8)
            got = item["rgbdiff"][0, 3 * step : 3 * step + 3, time]
            assert np.array_equal(got.numpy(), expected)


def test_a_video_of_one_frame_stands_still(tmp_path):
    path = moving(tmp_path, frames=1, sound=False)
    spec = ClipSpec(frames=2, size=32, stack=2, modalities=("rgbdiff", "flow"))
    item = VideoDataset([Sample(str(path))], None, spec, flow=FlowSource(cache=""))[0]["inputs"]
    assert item["rgbdiff"].shape == (1, 6, 2, 32, 32) and (item["rgbdiff"] == 127).all()
    assert item["flow"].shape == (1, 4, 2, 32, 32) and ((item["flow"].int() - 127).abs() <= 1).all()


def test_each_frame_is_asked_for_once_and_in_order(tmp_path, monkeypatch):
    from vidcore.video.pyav import PyavDecoder

    asked, read = [], PyavDecoder.frames
    monkeypatch.setattr(PyavDecoder, "frames", lambda self, frames: asked.append(frames) or read(self, frames))
    spec = ClipSpec(segments=2, frames=2, size=32, modalities=("rgb", "rgbdiff"))
    VideoDataset([Sample(str(moving(tmp_path)))], None, spec)[0]
    (frames,) = asked
    assert frames == sorted(set(frames)) and len(frames) == 2 * (2 + 5)


# Flow.


@pytest.mark.parametrize("method", ["farneback", "tvl1"])
def test_flow_of_a_known_motion(method):
    pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(0, 256, (1, 3, 20, 24))).float()
    picture = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bicubic").clamp(0, 255).to(torch.uint8)[0]
    flow = optical_flow(picture, picture.roll((1, 3), (1, 2)), method)
    assert flow.shape == (2, 80, 96) and flow.dtype == torch.float32
    middle = flow[:, 20:-20, 20:-20].flatten(1).median(1).values
    assert (middle - torch.tensor([3.0, 1.0])).abs().max() < 0.3


def test_large_frames_are_reduced():
    pytest.importorskip("cv2")
    assert optical_flow(*torch.zeros(2, 3, 300, 400, dtype=torch.uint8), "farneback").shape == (2, 256, 341)


def test_quantised_is_tsns():
    flow = torch.tensor([-99, -20, -10, 0, 5, 20, 99.0])
    assert quantised(flow).tolist() == [0, 0, 64, 128, 159, 255, 255]
    inside = torch.linspace(-20, 20, 999)
    assert (displacements(quantised(inside)) - inside).abs().max() <= 40 / 255 / 2 + 1e-4


SPEC = ClipSpec(segments=2, frames=2, stride=4, size=64, short_side=80, modalities=("rgb", "rgbdiff", "flow"))


def test_a_clip_with_flow_and_its_cache(tmp_path):
    pytest.importorskip("cv2")
    path, cache = moving(tmp_path), tmp_path / "cache"
    make = lambda: VideoDataset([Sample(str(path))], None, SPEC, flow=FlowSource(cache=str(cache)))  # noqa: E731
    cold = make()[0]["inputs"]
    assert cold["flow"].shape == (1, 10, 4, 64, 64) and cold["flow"].dtype == torch.uint8
    (folder,) = (cache / "farneback").iterdir()
    files = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    # Time points 8, 12, 28 and 32 of 40, and 4 fields after each; numbers count from 1.
    fields = sorted({at + step + 1 for at in (6, 10, 26, 30) for step in range(5)})
    assert sorted(files) == sorted(f"flow_{axis}_{number:05d}.jpg" for axis in "xy" for number in fields)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidcore.video.flow.optical_flow", lambda *arguments: pytest.fail("computed again"))
        warm = make()[0]["inputs"]
    assert all(torch.equal(cold[name], warm[name]) for name in cold)
    assert files == {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    without = VideoDataset([Sample(str(path))], None, SPEC, flow=FlowSource(cache=""))[0]["inputs"]
    assert torch.equal(cold["flow"], without["flow"])

    half = files.keys() - {"flow_y_00007.jpg"}
    (folder / "flow_y_00007.jpg").unlink()  # as after a killed process
    assert torch.equal(make()[0]["inputs"]["flow"], cold["flow"])
    assert all((folder / name).stat().st_mtime_ns >= files[name] for name in half)
    assert {file.name for file in folder.iterdir()} == set(files)


def test_one_draw_for_frames_differences_and_flow(tmp_path):
    pytest.importorskip("cv2")
    path = moving(tmp_path)
    dataset = VideoDataset(
        [Sample(str(path))],
        None,
        SPEC,
        train=True,
        flow=FlowSource(cache=str(tmp_path / "cache")),
        augment=Augment(scale=(0.6, 1.0)),
    )
    mirrored = set()
    for seed in range(12):
        item = dataset[0, seed]["inputs"]
        square = (item["rgb"][0].float().mean(0) - 128).abs()  # (T, H, W): the square is not grey
        moves = (item["rgbdiff"][0, :3].float().mean(0) - 127).abs()
        x, y = displacements(item["flow"][0, :2])
        for time in range(4):
            inside = _shrunk(torch.nn.functional.max_pool2d((square[time] > 12).float()[None], 9, 1, 4)[0])
            if inside.sum() < 200:
                continue
            # The vectors are where the picture and its difference are, and point where the square goes.
            assert y[time][inside].median() > 0.6
            outside = torch.nn.functional.max_pool2d((square[time] > 12).float()[None], 15, 1, 7)[0] == 0
            assert outside.sum() == 0 or moves[time][outside].max() <= 6
            assert outside.sum() == 0 or y[time][outside].abs().median() < 0.5
            mirrored.add(float(x[time][inside].median().sign()))
    assert mirrored == {-1.0, 1.0}


def _shrunk(mask: torch.Tensor) -> torch.Tensor:
    return -torch.nn.functional.max_pool2d(-mask[None], 15, 1, 7)[0] > 0


def test_a_mirrored_clip_has_the_flow_of_the_mirrored_video(tmp_path):
    pytest.importorskip("cv2")
    path = moving(tmp_path)
    with open_video(path) as video:
        frames = video.frames([10, 11])
    flow = optical_flow(*frames, "farneback")
    mirrored = optical_flow(*frames.flip(-1), "farneback")
    from vidcore.video.transforms import Flow

    transform = train_transform(
        ClipSpec(size=96, modalities=("flow",)), Augment(hflip=1, scale=(1, 1), ratio=(1.5, 1.5))
    )
    got, expected = (
        torch.nn.functional.interpolate(part[None].float(), (96, 96), mode="area")
        for part in (transform(Flow(quantised(flow)[None]))[0], quantised(mirrored))
    )
    assert (got - expected).abs().mean() < 2


def test_several_workers_fill_one_cache(tmp_path):
    pytest.importorskip("cv2")
    path, source = moving(tmp_path), FlowSource(cache=str(tmp_path / "cache"))
    dataset = VideoDataset([Sample(str(path))] * 4, None, SPEC, flow=source)
    loader = DataLoader(dataset, 1, num_workers=2, collate_fn=dataset.collate)
    batches = [batch["inputs"]["flow"] for batch in loader]
    with ThreadPoolExecutor(2) as pool:
        batches += [item["inputs"]["flow"] for item in pool.map(dataset.__getitem__, range(4))]
    assert len(batches) == 8 and all(torch.equal(batch, batches[0]) for batch in batches)
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.name.endswith(".part")]


@pytest.mark.parametrize(
    ("pattern", "first", "digits"), [("flow_{}_{}.jpg", 1, 5), ("{}_{}.jpg", 1, 4), ("flow_{}_{}.png", 0, 5)]
)
def test_published_flow_is_read(tmp_path, pattern, first, digits):
    path = moving(tmp_path)
    folder = tmp_path / "flow" / tmp_path.name / "moving"
    folder.mkdir(parents=True)
    for field in range(39):
        for axis, value in (("x", 100), ("y", 200)):
            name = pattern.format(axis, str(field + first).zfill(digits))
            Image.new("L", (72, 48), value + field).save(folder / name)
    source = FlowSource(published=str(tmp_path / "flow" / "{parent}" / "{stem}"))
    spec = ClipSpec(frames=4, stride=2, size=64, stack=2, modalities=("rgb", "flow"))
    flow = VideoDataset([Sample(str(path))], None, spec, flow=source)[0]["inputs"]["flow"]
    assert flow.shape == (1, 4, 4, 64, 64)
    assert flow[0, :, :, 0, 0].T.tolist() == [[100 + at, 200 + at, 101 + at, 201 + at] for at in (16, 18, 20, 22)]
    (folder / pattern.format("y", str(20 + first).zfill(digits))).unlink()
    with pytest.raises(VideoError, match="has flow for 38 frames, and none for frame 20"):
        VideoDataset([Sample(str(path))], None, spec, flow=source).read(Sample(str(path)))


def test_flow_that_cannot_be_had_is_said(tmp_path, monkeypatch):
    path = str(moving(tmp_path))
    spec = ClipSpec(frames=2, size=32, modalities=("flow",))

    def read(**source):
        return VideoDataset([Sample(path)], None, spec, flow=FlowSource(**source)).read(Sample(path))

    with pytest.raises(VideoError, match=r"nowhere.moving: flow cannot be read: No such file"):
        read(published=str(tmp_path / "nowhere" / "{stem}"))
    (tmp_path / "moving").mkdir()
    with pytest.raises(VideoError, match=r"moving: has no flow: no pictures flow_x_00001.jpg"):
        read(published=str(tmp_path / "{stem}"))
    pytest.importorskip("cv2")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"cannot save flow: Not a directory; choose another flow\.cache folder"):
        read(cache=str(tmp_path / "file"))
    read(cache=str(tmp_path / "cache"))
    broken = next((tmp_path / "cache").rglob("flow_x*"))
    broken.write_bytes(b"")
    with pytest.raises(VideoError, match=f"{broken.name}: cannot be decoded: .*; choose another"):
        read(cache=str(tmp_path / "cache"))
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(UserError, match=r'flow needs OpenCV: pip install "vidcore\[flow\]"'):
        read(cache="")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"method": "guess"}, "flow.method must be one of farneback, tvl1"),
        ({"published": "/data/flow"}, "must name {stem}"),
    ],
)
def test_flow_source_refuses(fields, says):
    with pytest.raises(ValueError, match=says):
        FlowSource(**fields)


def test_raft_without_its_weights_and_with_some(monkeypatch):
    from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

    from vidcore.video.flow import _raft_network

    frames = torch.randint(0, 256, (2, 3, 60, 84), dtype=torch.uint8)
    _raft_network.cache_clear()

    def offline(*arguments, **options):
        raise OSError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
        with pytest.raises(UserError, match=r"cannot download the weights of raft_small .*no route to host"):
            optical_flow(*frames, "raft_small")
    torch.manual_seed(0)
    network = raft_small().eval()
    monkeypatch.setattr(Raft_Small_Weights, "get_state_dict", lambda self, **options: network.state_dict())
    flow = optical_flow(*frames, "raft_small")
    _raft_network.cache_clear()
    assert flow.shape == (2, 60, 84)
    padded = torch.nn.functional.pad(frames / 127.5 - 1, (0, 44, 0, 68), mode="replicate")
    with torch.no_grad():
        expected = network(padded[:1], padded[1:])[-1][0, :, :60, :84]
    torch.testing.assert_close(flow, expected)


# What a model gets.


def test_normalisation_of_each_modality():
    spec = ClipSpec(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2), stack=2)
    channels = {"rgb": 3, "rgbdiff": 6, "flow": 4}
    full = {name: torch.full((1, count, 1, 1, 1), 255, dtype=torch.uint8) for name, count in channels.items()}
    made = {name: value.flatten() for name, value in normalised(full, spec).items()}
    torch.testing.assert_close(made["rgb"], torch.tensor([1.8, 3.2, 3.5]))
    torch.testing.assert_close(made["rgbdiff"], torch.tensor([1.8, 3.2, 3.5] * 2))
    torch.testing.assert_close(made["flow"], torch.full((4,), 0.5 / 0.226))


def test_example_batch_has_the_shapes_of_a_real_one():
    model = Everything(Task.numbered(2))
    assert model.eval()(model.example_batch(2)).logits.shape == (2, 2)
    assert model.macs_per_clip() > 0


class Moving(VideoDataModule):
    """Two classes: with sound and without."""

    task = Task("single_label", ("loud", "mute"))

    def __init__(self, root, **kwargs):
        super().__init__(**kwargs)
        self.root = root

    def samples(self, split):
        return [Sample(str(self.root / f"{name}.mp4"), label) for label, name in enumerate(self.task.classes)]


def test_training_evaluation_prediction_and_export_with_everything(tmp_path, monkeypatch, capsys):
    pytest.importorskip("cv2")
    moving(tmp_path, "loud.mp4"), moving(tmp_path, "mute.mp4", sound=False)
    cache = tmp_path / "cache"
    data = Moving(tmp_path, batch_size=2, num_workers=0, flow=FlowSource(cache=str(cache)))
    model = Everything(data.task)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    run = Trainer(default_root_dir=tmp_path, accelerator="cpu", max_epochs=1, enable_checkpointing=False, **quiet)
    run.fit(model, data)
    assert "test/top1" in run.test(model, data, verbose=False)[0]
    run.save_checkpoint(tmp_path / "model.ckpt")

    # Prediction has its flow from where training had it.
    monkeypatch.setattr("vidcore.video.flow.optical_flow", lambda *arguments: pytest.fail("computed again"))
    argv = [str(tmp_path / "loud.mp4"), str(tmp_path / "mute.mp4"), "--ckpt_path", str(tmp_path / "model.ckpt")]
    assert main(["predict", *argv, "--accelerator", "cpu", "--render", str(tmp_path / "drawn")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 and len(list((tmp_path / "drawn").iterdir())) == 2
    assert main(["predict", *argv, "--flow", "guess"]) == 2
    assert "flow.method must be one of farneback" in capsys.readouterr().err
    checkpoint = torch.load(tmp_path / "model.ckpt", weights_only=True)
    checkpoint["datamodule_hyper_parameters"]["flow"]["published"] = "/data/{stem}"
    torch.save(checkpoint, tmp_path / "model.ckpt")
    assert main(["predict", *argv]) == 2
    assert "flow that somebody published: say how to compute it with --flow" in capsys.readouterr().err
    monkeypatch.undo()
    pytest.importorskip("onnxscript")
    export(Everything(data.task, form="log_power"), tmp_path / "model.onnx", argv[:1])


def test_data_take_the_fields_of_a_source(tmp_path):
    data = Moving(tmp_path, flow={"method": "tvl1", "published": "/data/{stem}"})
    assert data.flow == FlowSource("tvl1", published="/data/{stem}")
    assert data.flow == FlowSource(**data.hparams["flow"]), "as a checkpoint has it"


def test_a_folder_with_frames_and_their_flow_and_no_sound(tmp_path):
    folder = tmp_path / "clip.1"
    folder.mkdir()
    for number in range(1, 7):
        Image.new("RGB", (40, 40), (number, number, number)).save(folder / f"img_{number:05d}.png")
        for axis, value in (("x", 50), ("y", 90)):
            Image.new("L", (40, 40), value + number).save(folder / f"flow_{axis}_{number:05d}.jpg")
    spec = ClipSpec(frames=6, size=32, stack=1, modalities=("rgb", "flow", "audio"))
    source = FlowSource(published=str(tmp_path / "{stem}"))
    item = VideoDataset([Sample(str(folder))], None, spec, flow=source)[0]
    assert item["inputs"]["rgb"][0, 0, :, 0, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert item["inputs"]["flow"][0, :, :, 0, 0].T.tolist() == [[50 + n, 90 + n] for n in (1, 2, 3, 4, 5, 5)]
    assert item["present"] == {"audio": False} and not item["inputs"]["audio"].any()
