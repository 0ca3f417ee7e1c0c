"""What is odd is read, what is bad is reported, and nothing is silent."""

from __future__ import annotations

import csv
import errno
import os
import pickle
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch
from colours import COLOURS, Colours
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from small_models import LookOrListen, MeanColour
from test_audio_encode import chirp, write_wav
from test_decoder import VFR, X264, make, rotate

from vidcore import ClipSpec, Sample, Task, UserError, VideoDataModule
from vidcore.cli import main
from vidcore.reading.dataset import VideoDataset
from vidcore.reading.sampler import SeededSampler
from vidcore.video import VideoError, open_video
from vidcore.video.audio import Sound, read_audio, read_audio_windows
from vidcore.video.time_limit import within

TESTS = Path(__file__).parent
FOUR_FRAMES = {"frames": 4, "stride": 3}


class Listed(VideoDataModule):
    """The files that it is given, in every split."""

    def __init__(self, paths, labels=None, task=Task("single_label", tuple(COLOURS)), **kwargs):
        super().__init__(**{"num_workers": 0, "batch_size": 4, **kwargs})
        self.paths, self.labels, self._task = [str(path) for path in paths], labels, task

    @property
    def task(self):
        return self._task

    def samples(self, split):
        labels = self.labels or [index % 3 for index in range(len(self.paths))]
        return [Sample(path, label) for path, label in zip(self.paths, labels, strict=True)]


def trainer(folder, epochs=1, **kwargs):
    seed_everything(1)
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=CSVLogger(folder),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"enable_checkpointing": False, **kwargs},
    )


def rows_of(folder, name):
    (path,) = Path(folder).rglob(name)
    return list(csv.DictReader(path.open()))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    Colours(folder).prepare_data()
    return sorted(folder.iterdir())


# What is odd.

ODD = {
    "one_frame.mp4": {"count": 1},
    "fewer_than_a_clip.mp4": {"count": 3},
    "odd_size.mp4": {"size": (35, 37), "pix_fmt": "yuv444p"},
    "tiny.mp4": {"size": (10, 10)},
    "varying_rate.mp4": {"pts": VFR},
    "ten_bit.mp4": {"pix_fmt": "yuv420p10le"},
    "grey.mp4": {"pix_fmt": "gray"},
    "with spaces and (brackets).mp4": {},
    "größe_視頻_🎬.mp4": {},
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    paths = [
        make(folder / name, "libx264", **{"count": 20, "options": X264, **settings}) for name, settings in ODD.items()
    ]
    upright = make(folder / "upright.mp4", "libx264", count=20, options=X264, size=(48, 96))
    return [*paths, rotate(upright, folder / "portrait.mp4", 1)]


def test_what_is_odd_is_trained_tested_and_predicted(odd, tmp_path):
    data, run = Listed(odd), trainer(tmp_path)
    model = MeanColour(data.task, clip=FOUR_FRAMES)
    run.fit(model, data)
    (result,) = run.test(model, data, verbose=False)
    rows = [row for batch in run.predict(model, data) for row in batch]
    assert [row["path"] for row in rows] == data.paths
    assert all(len(row["top"]) == 3 for row in rows)
    assert data.unreadable == {}
    assert 0 <= result["test/top1"] <= 1


def test_a_portrait_is_read_upright(odd):
    with open_video(odd[-1]) as video:
        assert video.size == (96, 48)


# What is bad.


@pytest.fixture
def bad(tmp_path, good):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video\n" * 200)
    (folder / "truncated.mp4").write_bytes(good[0].read_bytes()[: good[0].stat().st_size // 2])
    write_wav(folder / "sound.wav", chirp(1, 8000)[None], 8000).rename(folder / "sound_only.mp4")
    (folder / "a_folder.mp4").mkdir()
    make(folder / "forbidden.mp4", "libx264", count=3).chmod(0)
    os.mkfifo(folder / "never_ends.mp4")  # opening it waits for a writer
    return [*sorted(folder.iterdir()), folder / "missing.mp4"]


def named(paths, *names):
    return [path for path in paths if path.name in names]


REASONS = {
    "a_folder.mp4": "has no pictures (.jpeg .jpg .png .webp)",
    "empty.mp4": "Invalid data found when processing input",
    "forbidden.mp4": "Permission denied",
    "missing.mp4": "No such file or directory",
    "never_ends.mp4": "is not a file, but a pipe or a device",
    "sound_only.mp4": "has no video stream",
    "text.mp4": "Invalid data found when processing input",
    "truncated.mp4": "Invalid data found when processing input",
}


if os.geteuid() == 0:  # root may read everything
    del REASONS["forbidden.mp4"]


def test_what_is_bad_is_replaced_in_training_and_counted(bad, good, tmp_path):
    paths = [path for path in bad if path.name in REASONS]
    data = Listed([*paths, *good], timeout=0.5, max_unreadable=0.5)
    model, run = MeanColour(data.task, clip=FOUR_FRAMES), trainer(tmp_path, epochs=2)
    with pytest.warns(UserWarning, match="unreadable: .*text.mp4: Invalid data"):
        run.fit(model, data)
    assert data.unreadable == {str(path): f"{path}: {REASONS[path.name]}" for path in paths}
    listed = rows_of(tmp_path, "unreadable_0.csv")
    assert {Path(row["path"]).name: row["error"].partition(": ")[2] for row in listed} == REASONS
    counts = [float(row["train/unreadable"]) for row in rows_of(tmp_path, "metrics.csv") if row["train/unreadable"]]
    assert len(counts) == 2 and min(counts) >= 1
    assert run.fit_loop.epoch_loop.batch_progress.current.completed == len(data.paths) // 4


def test_what_is_bad_is_reported_in_test_and_predict(bad, good, tmp_path):
    paths = [path for path in bad if path.name in REASONS]
    data, run = Listed([*good, *paths], timeout=0.5), trainer(tmp_path)
    model = MeanColour(data.task)
    with pytest.warns(UserWarning, match="unreadable: .*missing.mp4: No such file"):
        (result,) = run.test(model, data, verbose=False)
    assert 0 <= result["test/top1"] <= 1
    assert {Path(path).name for path in data.unreadable} == REASONS.keys()
    assert len(rows_of(tmp_path, "unreadable_0.csv")) == len(paths)
    rows = [row for batch in run.predict(model, data) for row in batch]
    assert {Path(row["path"]).name: row["error"].partition(": ")[2] for row in rows if "error" in row} == REASONS
    assert sum("top" in row for row in rows) == len(good)


def test_no_permission(tmp_path, good):
    path = shutil.copy(good[0], tmp_path / "forbidden.mp4")
    path.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        with pytest.raises(VideoError, match=r"forbidden.mp4: Permission denied"):
            open_video(path)
    finally:
        if root:
            os.seteuid(0)


def test_above_one_per_cent_training_stops_with_the_list(good, bad, tmp_path):
    data = Listed([*good, *named(bad, "empty.mp4", "text.mp4")])
    with pytest.raises(UserError) as raised:
        trainer(tmp_path, epochs=9).fit(MeanColour(data.task), data)
    (report,) = tmp_path.rglob("unreadable_0.csv")
    text = str(raised.value)
    assert f"1 of {len(data.paths)} training files cannot be read, a share above 0.01" in text
    assert "--data.max_unreadable" in text and str(report) in text and "Invalid data" in text


def test_nothing_readable_is_an_error(bad, tmp_path):
    data = Listed(named(bad, "empty.mp4", "text.mp4"), max_unreadable=1.0)
    with pytest.raises(UserError, match=r"not one sample of a batch could be read(.|\n)*Invalid data"):
        trainer(tmp_path).fit(MeanColour(data.task), data)
    with pytest.raises(UserError, match="not one sample of test could be read"):
        trainer(tmp_path).test(MeanColour(data.task), data)


def test_a_replacement_depends_on_the_seed_alone(good, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    samples = [Sample(tmp_path / "text.mp4", 0), *(Sample(path, 0) for path in good)]
    dataset = VideoDataset(samples, Task.numbered(2), ClipSpec(frames=2, size=16), train=True)
    first, again, other = (dataset[0, seed] for seed in (5, 5, 6))
    assert first["id"] == again["id"] != other["id"]
    assert torch.equal(first["inputs"]["rgb"], again["inputs"]["rgb"])
    assert list(first["errors"]) == [str(tmp_path / "text.mp4")]
    assert len({dataset[0, seed]["id"] for seed in range(30)}) > 6


def test_a_file_that_vanishes_during_training(good, tmp_path):
    copies = [shutil.copy(path, tmp_path / path.name) for path in good]

    class Vanishing(Listed):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            if self.trainer.current_epoch == 1:
                copies[0].unlink(missing_ok=True)
            return super().on_before_batch_transfer(batch, dataloader_idx)

    data = Vanishing(copies, max_unreadable=0.1, num_workers=1)
    run = trainer(tmp_path, epochs=4, limit_val_batches=0)
    with pytest.warns(UserWarning, match="No such file"):
        run.fit(MeanColour(data.task), data)
    counts = [float(row["train/unreadable"]) for row in rows_of(tmp_path, "metrics.csv") if row["train/unreadable"]]
    assert counts[0] == 0 and counts[-1] == 1


# What hangs.


def test_a_decoder_that_never_returns_is_left_behind(good, tmp_path, monkeypatch):
    stop = threading.Event()

    def hangs(path, *options):
        while not stop.wait(0.01) and path == str(good[0]):
            pass
        return open_video(path, *options)

    monkeypatch.setattr("vidcore.reading.dataset.open_video", hangs)
    samples = [Sample(path, 0) for path in good]
    dataset = VideoDataset(samples, Task.numbered(2), ClipSpec(frames=2, size=16), timeout=0.3)
    assert dataset[0]["errors"] == {str(good[0]): f"{good[0]}: took longer than 0.3 s to read"}
    threads = threading.active_count()
    assert dataset[0]["errors"], "it is not tried again"
    assert threading.active_count() == threads
    assert dataset[1]["errors"] == {}
    stop.set()


def test_within_passes_on_what_happens():
    assert within(5, "a", lambda: 7) == 7
    with pytest.raises(KeyError):
        within(5, "a", lambda: {}["b"])
    with pytest.raises(VideoError, match=r"a: took longer than 0.01 s to read"):
        within(0.01, "a", lambda: time.sleep(0.5))


# Labels and splits.


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("single_label", 3),
        ("single_label", -1),
        ("single_label", "cat"),
        ("multi_label", (0, 3)),
        ("detection", {"boxes": [[0, 0, 5, 5]], "labels": [3], "frames": [0]}),
    ],
)
@pytest.mark.parametrize("method", ["fit", "test"])
def test_a_label_that_is_no_class(good, tmp_path, kind, label, method):
    fine = {"single_label": 0, "multi_label": (), "detection": {"boxes": [], "labels": [], "frames": []}}[kind]
    data = Listed(good[:2], [fine, label], Task(kind, tuple(COLOURS)))
    right = "neither an index" if label == "cat" else r"labels go from 0 to 2 \(red, gre"
    with pytest.raises(UserError, match=f"_1.mp4 is labelled .*, which is no class: {right}"):
        getattr(trainer(tmp_path), method)(MeanColour(Task.numbered(3)), data)


def test_a_sample_without_a_label(good, tmp_path):
    data = Listed(good[:2], [0, None])
    with pytest.raises(UserError, match=r"_1.mp4 has no label"):
        trainer(tmp_path).fit(MeanColour(data.task), data)


def test_an_empty_split(tmp_path):
    data = Listed([])
    with pytest.raises(UserError, match="split 'train' has no samples"):
        trainer(tmp_path).fit(MeanColour(data.task), data)


def test_a_class_with_one_clip_and_one_without(good, tmp_path):
    data, run = Listed(good[:5], [0, 0, 0, 0, 1]), trainer(tmp_path)
    model = MeanColour(data.task)
    run.fit(model, data)
    (result,) = run.test(model, data, verbose=False)
    assert 0 <= result["test/mean_class"] <= 1


def test_one_clip_in_all(good, tmp_path):
    data, run = Listed(good[:1], [0]), trainer(tmp_path)
    model = LookOrListen(data.task)
    run.fit(model, data)
    assert "test/top1" in run.test(model, data, verbose=False)[0]


# Sound.


def test_of_a_long_sound_only_windows_are_read(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "long.wav", torch.rand(1, 100 * 8000).numpy() - 0.5, 8000)
    spec = ClipSpec(segments=3, frames=1, modalities=("audio",), audio_rate=8000, audio_seconds=1.5)
    whole = read_audio(path, 8000)
    read = []

    def watched(sound, *arguments):
        read.append(arguments[1:])
        return read_sound(sound, *arguments)

    read_sound = Sound.read
    monkeypatch.setattr(Sound, "read", watched)
    windows = read_audio_windows(path, spec)
    assert read == [(pytest.approx(middle - 0.75), pytest.approx(middle + 0.75)) for middle in (100 / 6, 50, 500 / 6)]
    for window, (start, _) in zip(windows, read, strict=True):
        first = round(start * 8000)
        assert torch.allclose(window, whole[first : first + 12_000], atol=1e-6)
    read.clear()
    assert read_audio_windows(path, spec, 10.0, 20.0).shape == (3, 12_000)
    assert read == [(10.0, 20.0)]


# Checkpoints.


@pytest.fixture
def fitted(good, tmp_path, monkeypatch):
    """Arguments of a ``vid fit``, and its last checkpoint."""
    monkeypatch.syspath_prepend(str(TESTS))
    argv = [
        *("fit", "--model", "small_models.MeanColour", "--data", "colours.Colours"),
        *("--data.root", str(good[0].parent), "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"),
        *("--trainer.enable_progress_bar", "false", "--trainer.logger.save_dir", str(tmp_path / "runs")),
    ]
    assert main(argv) == 0
    (last,) = (tmp_path / "runs").rglob("last.ckpt")
    return argv, last


def test_a_full_disk_leaves_the_checkpoint_before(good, tmp_path, monkeypatch):
    data, written = Listed(good), []

    def full(descriptor):
        written.append(descriptor)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    keeps = ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    with pytest.raises(OSError, match="No space left on device") as raised:
        trainer(tmp_path, epochs=5, enable_checkpointing=True, callbacks=[keeps]).fit(MeanColour(data.task), data)
    assert raised.value.filename == str(tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 1
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_an_error_of_one_line(fitted, capsys, monkeypatch):
    argv, _ = fitted

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    assert main(argv) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("vid: error: ") and error.endswith(".ckpt: No space left on device")


class Runs:
    def __reduce__(self):
        return os.system, ("touch pickle_ran",)


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
@pytest.mark.parametrize("fault", ["truncated", "pickle", "text"])
def test_a_checkpoint_that_is_none(fitted, good, capsys, command, fault):
    argv, checkpoint = fitted
    if fault == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    elif fault == "pickle":
        checkpoint.write_bytes(pickle.dumps(Runs()))
    else:
        checkpoint.write_text("no checkpoint")
    arguments = {"fit": argv, "test": ["test"], "predict": ["predict", str(good[0])]}[command]
    assert main([*arguments, "--ckpt_path", str(checkpoint)]) == 1
    error = capsys.readouterr().err
    assert f"{checkpoint} is no checkpoint that can be read safely" in error
    assert "Traceback" not in error
    assert not Path("pickle_ran").exists()


def test_a_checkpoint_cannot_have_code_imported(fitted, capsys, tmp_path, monkeypatch):
    _, checkpoint = fitted
    (tmp_path / "evil.py").write_text("open('import_ran', 'w')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["_class_path"] = "evil.Model"
    torch.save(content, checkpoint)
    for argv in (["test"], ["predict", "--output", "out.jsonl", str(checkpoint)], ["flops"]):
        assert main([*argv, "--ckpt_path", str(checkpoint)]) in (1, 2)
        error = capsys.readouterr().err
        assert "evil.Model" in error
        assert "Traceback" not in error
    assert not Path("import_ran").exists()


def test_a_checkpoint_of_other_classes(fitted, capsys, monkeypatch):
    argv, checkpoint = fitted
    monkeypatch.setattr(Colours, "task", Task("single_label", ("cyan", "magenta", "yellow")))
    assert main([*argv, "--ckpt_path", str(checkpoint)]) == 1
    error = capsys.readouterr().err
    assert "knows 3 single_label classes (red, green, blue); the data has 3 single_label (cyan, magenta" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "config",
    [
        "model: os.system",
        "model: {class_path: subprocess.Popen, init_args: {args: [touch, config_ran]}}",
        "data: {class_path: subprocess.Popen, init_args: {args: [touch, config_ran]}}",
        "trainer: {callbacks: [{class_path: subprocess.Popen, init_args: {args: [touch, config_ran]}}]}",
        "trainer: {logger: {class_path: subprocess.Popen, init_args: {args: [touch, config_ran]}}}",
        "model: {class_path: small_models.MeanColour, init_args: {optim: {class_path: subprocess.Popen}}}",
    ],
)
def test_a_config_that_names_another_class(good, tmp_path, monkeypatch, capsys, config):
    monkeypatch.syspath_prepend(str(TESTS))
    Path("config.yaml").write_text(config + "\n")
    model = [] if "model" in config else ["--model", "small_models.MeanColour"]
    data = [] if config.startswith("data") else ["--data", "colours.Colours", "--data.root", str(good[0].parent)]
    assert main(["fit", "--config", "config.yaml", *model, *data]) == 2
    error = capsys.readouterr().err
    assert "vid: error:" in error
    assert "Traceback" not in error
    assert not Path("config_ran").exists()


def test_lightning_leaves_the_sampler_alone(good, tmp_path):
    data = Listed(good)
    run = trainer(tmp_path)
    run.fit(MeanColour(data.task), data)
    assert isinstance(run.train_dataloader.sampler, SeededSampler)
