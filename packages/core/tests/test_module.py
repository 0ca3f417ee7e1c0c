from __future__ import annotations

import json

import pytest
import torch
from colours import BrightSquare, Colours, write
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from small_models import BrightestSpot, LookOrListen, MeanColour, TwoStages

from vidcore import ClipSpec, Optim, Task, UserError, VideoModule
from vidcore.module import load_module, view_numbers

FAST = Optim(lr=0.05, warmup=0.0)


def trainer(folder, epochs=8, **kwargs):
    seed_everything(1)
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=CSVLogger(folder),
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False, **kwargs},
    )


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


def test_single_label_learns_and_reports_accuracy_cost_time_and_memory(clips, tmp_path):
    data, run = Colours(clips), trainer(tmp_path)
    model = MeanColour(data.task, optim=FAST)
    run.fit(model, data)
    (result,) = run.test(model, data, verbose=False)
    assert result["test/top1"] == result["test/mean_class"] == 1
    assert result["test/gmacs"] * 1e9 == pytest.approx(3 * 8 + 8 * 3)
    assert result["test/ms"] > 0
    assert result["test/peak_memory_mb"] > 0


def test_multi_label(clips, tmp_path):
    data, run = Colours(clips, kind="multi_label"), trainer(tmp_path)
    model = MeanColour(data.task, optim=FAST)
    run.fit(model, data)
    (result,) = run.test(model, data, verbose=False)
    assert result["test/map"] == pytest.approx(1)


def test_several_modalities_with_one_missing_and_cost_from_usage(tmp_path):
    data, run = Colours(tmp_path / "sound", audio=True), trainer(tmp_path)
    model = LookOrListen(data.task, optim=FAST)
    run.fit(model, data)
    (result,) = run.test(model, data, verbose=False)
    assert result["test/top1"] == 1
    # Half of the videos are mute, and were not heard.
    assert result["test/gmacs"] * 1e9 == pytest.approx(3 * 3 + 0.5 * 1 * 3)


def test_detection(tmp_path):
    data, run = BrightSquare(tmp_path / "squares"), trainer(tmp_path)
    # Flips and crops off: the spot is not in the square's middle by much.
    data.augment = type(data.augment)(scale=(1.0, 1.0), ratio=(1.0, 1.0), hflip=0.0)
    model = BrightestSpot(data.task, optim=Optim(lr=0.3, warmup=0.0, weight_decay=0.0))
    run.fit(model, data)
    (result,) = run.test(model, data, verbose=False)
    assert result["test/map50"] == pytest.approx(1)
    rows = run.predict(model, data)[0]
    assert [row["path"] for row in rows] == [sample.path for sample in data.samples("predict")]
    assert rows[0]["detections"][1]["frame"] == 1


def test_training_in_stages_freezes_and_resumes(clips, tmp_path):
    data = Colours(clips)
    seen = []

    class Watched(TwoStages):
        def on_train_epoch_end(self):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            seen.append((self.current_epoch, type(self.trainer.optimizers[0]).__name__, rate, self.net[1].training))

    model = Watched(data.task)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = trainer(tmp_path, epochs=2, enable_checkpointing=True)
    first.fit(model, data)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"net.3.weight", "net.3.bias"}, "the frozen part, its batch statistics included, must not move"
    first.save_checkpoint(tmp_path / "stage1.ckpt")

    again = Watched(data.task)
    trainer(tmp_path, epochs=4).fit(again, data, ckpt_path=tmp_path / "stage1.ckpt")
    assert [entry[:2] for entry in seen] == [(0, "SGD"), (1, "SGD"), (2, "AdamW"), (3, "AdamW")]
    assert [entry[2] for entry in seen] == [0.1, 0.1, 0.01, 0.01]
    assert [entry[3] for entry in seen] == [False, False, True, True]
    assert not torch.equal(again.state_dict()["net.0.weight"], before["net.0.weight"])

    # In the middle of the second stage.
    middle = trainer(tmp_path, epochs=3, enable_checkpointing=True)
    model = Watched(data.task)
    middle.fit(model, data)
    middle.save_checkpoint(tmp_path / "stage2.ckpt")
    seen.clear()
    trainer(tmp_path, epochs=4).fit(Watched(data.task), data, ckpt_path=tmp_path / "stage2.ckpt")
    assert seen == [(3, "AdamW", 0.01, True)]


def test_a_checkpoint_alone_is_enough_to_predict(clips, tmp_path):
    data, run = Colours(clips), trainer(tmp_path, enable_checkpointing=True)
    model = MeanColour(data.task, optim=FAST, clip={"frames": 3})
    run.fit(model, data)
    run.save_checkpoint(tmp_path / "model.ckpt")
    for loaded in (load_module(tmp_path / "model.ckpt"), MeanColour.load_from_checkpoint(tmp_path / "model.ckpt")):
        assert type(loaded) is MeanColour
        assert loaded.task == data.task
        assert loaded.clip_spec.frames == 3
        assert loaded.optim == FAST
    batch = data.dataset("test").collate([data.dataset("test")[0]])
    (row,) = loaded.eval().predict_step(loaded.normalised(batch), 0)
    assert row["top"][0]["class"] == "red"
    assert row["path"].endswith("red_0.mp4")
    assert json.dumps(row)


def test_views_are_averaged_and_their_cost_added(clips, tmp_path):
    data, run = Colours(clips, views=3, crops=3), trainer(tmp_path)
    model = MeanColour(data.task)
    (result,) = run.test(model, data, verbose=False)
    assert result["test/gmacs"] * 1e9 == pytest.approx(9 * (3 * 8 + 8 * 3))
    batch = data.dataset("test").collate([data.dataset("test")[0], data.dataset("test")[1]])
    assert batch["inputs"]["rgb"].shape == (18, 3, 2, 16, 16)
    assert batch["inputs"]["rgb"].dtype == torch.uint8
    rows = model.eval().predict_step(model.normalised(batch), 0)
    assert [row["path"] for row in rows] == [sample.path for sample in data.samples("test")[:2]]
    scores = model.net(batch["inputs"]["rgb"].mean((2, 3, 4))).softmax(-1)[:9].mean(0)
    assert rows[0]["top"][0]["score"] == pytest.approx(scores.max().item(), abs=1e-4)


def test_view_numbers():
    assert view_numbers(["a", "a", "b", "a", "b"]).tolist() == [0, 1, 0, 2, 1]


def test_frames_are_normalised_by_the_clip_spec():
    model = MeanColour(Task.numbered(2), clip={"mean": (0.5, 0.4, 0.0), "std": (0.5, 0.2, 1.0)})
    batch = model.normalised({"inputs": {"rgb": torch.full((1, 3, 1, 2, 2), 255, dtype=torch.uint8)}, "ids": ["a"]})
    torch.testing.assert_close(batch["inputs"]["rgb"][0, :, 0, 0, 0], torch.tensor([1.0, 3.0, 1.0]))


def test_clip_is_replaced_field_by_field_and_keeps_the_margin():
    model = MeanColour(Task.numbered(2), clip={"frames": 5})
    assert model.clip_spec == ClipSpec(frames=5, size=16)
    with pytest.raises(UserError, match="clip has no field frame; it has segments, frames"):
        MeanColour(Task.numbered(2), clip={"frame": 5})
    with pytest.raises(UserError, match=r"clip\.frames must be between 1 and 10000"):
        MeanColour(Task.numbered(2), clip={"frames": 0})


def test_a_part_that_the_model_freezes_itself_keeps_its_batch_statistics(clips, tmp_path):
    class Frozen(MeanColour):
        def __init__(self, task, **kwargs):
            super().__init__(task, **kwargs)
            self.net[:3].requires_grad_(False)

    data = Colours(clips)
    model = Frozen(data.task)
    trainer(tmp_path, epochs=1).fit(model, data)
    assert model.net[1].num_batches_tracked == 0


def test_moving_average_is_what_is_evaluated_and_saved(clips, tmp_path):
    data, run = Colours(clips), trainer(tmp_path, epochs=2, enable_checkpointing=True)
    model = MeanColour(data.task, optim=Optim(lr=0.05, ema=0.9))
    run.fit(model, data)
    run.save_checkpoint(tmp_path / "ema.ckpt")
    assert any(type(callback).__name__ == "EMAWeightAveraging" for callback in run.callbacks)


def test_fine_tuning_replaces_only_the_classifier(tmp_path, caplog):
    source = MeanColour(Task.numbered(5))
    torch.save(source.state_dict(), tmp_path / "five.pt")
    target = MeanColour(Task.numbered(3))
    kept = target.net[3].weight.clone()
    target.load_weights(tmp_path / "five.pt")
    assert torch.equal(target.net[0].weight, source.net[0].weight)
    assert torch.equal(target.net[3].weight, kept)

    wrong = LookOrListen(Task.numbered(3))
    with pytest.raises(UserError, match=r"does not fit this LookOrListen: .*is missing"):
        wrong.load_weights(tmp_path / "five.pt")


def test_a_reader_is_the_same_for_the_same_seed(clips):
    def draw():
        torch.manual_seed(3)
        data = Colours(clips, augment={"randaugment": 9, "erasing": 0.5, "mixup": 0.5})
        data.clip_spec = ClipSpec(frames=3, size=16)
        dataset = data.dataset("train")
        return dataset.collate([dataset[index] for index in range(6)])

    first, second = draw(), draw()
    assert torch.equal(first["inputs"]["rgb"], second["inputs"]["rgb"])
    assert torch.equal(first["target"], second["target"])
    assert first["target"].shape == (6, 3)


def test_stretches_of_one_file(tmp_path):
    path = write(tmp_path / "long.mp4", (200, 20, 20), 0, frames=16)
    from vidcore import Sample
    from vidcore.datamodule import VideoDataset
    from vidcore.video import open_video

    spec = ClipSpec(frames=4, size=24, short_side=24)
    item = VideoDataset([Sample(str(path), 0, start=1.0, end=1.5)], Task.numbered(3), spec)[0]
    with open_video(path) as video:
        frames = video.frames(range(8, 12))
    assert torch.equal(item["inputs"]["rgb"][0].transpose(0, 1), frames[..., 4:28])


@pytest.mark.parametrize(
    ("option", "says"), [({"crops": 2}, "crops must be one of 1, 3"), ({"views": 0}, "views must be between")]
)
def test_wrong_options(clips, option, says):
    with pytest.raises(UserError, match=says):
        Colours(clips, **option)


def test_a_model_that_defines_runs_is_told_the_new_name():
    with pytest.raises(TypeError, match=r"Old defines runs\(\), which is now called calls_per_clip\(\)"):
        type("Old", (VideoModule,), {"runs": lambda self: {}})
