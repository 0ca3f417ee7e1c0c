from __future__ import annotations

import json
from pathlib import Path

import colours
import pytest
import torch
from small_models import BrightestSpot, LookOrListen, MeanColour
from torch import nn

from vidcore import Output, Task, UserError
from vidcore.cli import main
from vidcore.video import open_video, read_audio
from vidcore_deploy.bench import bench, device_of
from vidcore_deploy.clips import given_or_made, read_batch
from vidcore_deploy.commands.bench import verdict

TASK = Task("single_label", tuple(colours.COLOURS))


class Wasteful(MeanColour):
    """Says that it skips its network, and runs it."""

    def components(self):
        return {"net": (nn.Linear(3, 8), (torch.zeros(1, 3),))}

    def forward(self, batch):
        output = super().forward(batch)
        return Output(logits=output.logits, usage={"net": torch.full((len(output.logits),), 0.5)})


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    paths = [
        colours.write(folder / f"{name}.mp4", colour, seed, audio=name == "red")
        for seed, (name, colour) in enumerate(colours.COLOURS.items())
    ]
    return [str(path) for path in paths]


def test_what_is_measured(videos):
    report = bench(MeanColour(TASK), videos, batch_size=3, repeats=2)
    assert report["videos"] == "3 given videos"
    assert [row["batch_size"] for row in report["compute"]] == [1, 3]
    for row in (report["decode"], *report["compute"]):
        assert 0 < row["median_ms"] <= row["p95_ms"]
    for row in report["compute"]:
        assert row["clips_per_second"] == pytest.approx(1000 * row["batch_size"] / row["median_ms"], rel=0.05)
        assert row["peak_memory_mb"] > 10
    assert report["macs"] == {"executed": 3 * 8 + 8 * 3, "counted": 3 * 8 + 8 * 3, "ratio": 1}
    assert report["device"].startswith("CPU ")
    json.dumps(report)


def test_a_batch_of_one_is_measured_once(videos):
    assert [row["batch_size"] for row in bench(MeanColour(TASK), videos, batch_size=1, repeats=1)["compute"]] == [1]


def test_an_adaptive_model_is_charged_for_what_it_used(videos):
    macs = bench(LookOrListen(TASK), videos, batch_size=3, repeats=1)["macs"]
    assert macs["counted"] == pytest.approx(3 * 3 + 3 / 3)  # one of three clips has sound
    assert macs["ratio"] == pytest.approx(1)


def test_macs_that_were_not_saved_are_seen(videos):
    macs = bench(Wasteful(TASK), videos, batch_size=2, repeats=1)["macs"]
    assert macs == {"executed": 48, "counted": 12, "ratio": 4}
    assert "THEY DIFFER, the model ran more than its usage says" in verdict(**macs)
    assert "less than" in verdict(12, 24, 0.5)
    assert "they agree" in verdict(24, 24, 1)


def test_a_model_without_costs(videos):
    macs = bench(BrightestSpot(Task("detection", ("spot",))), videos, batch_size=1, repeats=1)["macs"]
    assert macs == {"executed": 0, "counted": 0, "ratio": None}
    assert "nothing to count" in verdict(**macs)


def test_a_video_is_made_where_none_is_given():
    spec = LookOrListen(TASK).clip_spec
    with given_or_made([], spec) as (paths, described):
        assert "made for this" in described
        with open_video(paths[0]) as video:
            assert (video.num_frames, video.size) == (50, (256, 340))
        assert len(read_audio(paths[0], 16_000)) == pytest.approx(32_000, abs=2_000)
        batch = read_batch(paths, spec, 2)
    assert batch["inputs"]["rgb"].shape == (2, 3, 2, 16, 16)
    assert batch["present"]["audio"].all()
    assert not Path(paths[0]).exists()


def test_no_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="no CUDA device"):
        device_of("gpu")


def test_the_command(installed, videos, tmp_path, capsys):
    options = ["--model", "mean", "--classes", "5", "--batch_size", "2", "--repeats", "1", "--accelerator", "cpu"]
    assert main(["bench", *options, "--output", "figures/bench.json", videos[0]]) == 0
    printed = capsys.readouterr().out
    assert "compute, batch of 2" in printed
    assert "weights: as initialised" in printed
    assert "6.4e-08 GMACs a clip executed, 6.4e-08 counted, ratio 1.0000: they agree" in printed
    written = json.loads((tmp_path / "figures" / "bench.json").read_text())
    assert written["macs"]["executed"] == 3 * 8 + 8 * 5
    assert written["parameters"] == 3 * 8 + 8 + 16 + 8 * 5 + 5
    assert "parameters: 93" in printed
    assert main(["bench", *options, "--json"]) == 0
    assert "made for this" in json.loads(capsys.readouterr().out)["videos"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "needs --ckpt_path FILE or --model NAME"),
        (["--model", "mean", "--repeats", "0"], "--repeats must be between 1 and 1000000, got 0"),
        (["--model", "mean", "--batch_size", "0"], "--batch_size must be between 1 and 1000000, got 0"),
        (["--model", "mean", "--accelerator", "abacus"], "abacus"),
        (["--model", "mean", "missing.mp4"], "no file missing.mp4"),
        (["--model", "mean", "--repeat", "3"], "did you mean --repeats?"),
    ],
)
def test_usage_errors(installed, capsys, argv, says):
    assert main(["bench", *argv]) == 2
    assert says in capsys.readouterr().err
