"""The code in the guides runs as printed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from vidcore import Task
from vidcore.datamodule import VideoDataset
from vidcore.video import write_video

DOCS = Path(__file__).parents[1] / "docs"


def code(page: str, title: str) -> str:
    return re.search(rf'```python title="{re.escape(title)}"\n(.*?)```', (DOCS / page).read_text(), re.DOTALL)[1]


def run(source: str) -> dict:
    names: dict = {"__name__": "guide"}
    exec(compile(source, "guide", "exec"), names)
    return names


def test_the_model_of_the_guide():
    model = run(code("write_a_model.md", "src/vidcore_meanframe/__init__.py"))["MeanFrame"](Task.numbered(3))
    batch = model.example_batch(2)
    assert batch["inputs"]["rgb"].shape == (2, 3, 8, 112, 112)
    assert model(batch).logits.shape == (2, 3)
    with FlopCounterMode(display=False) as counter:
        model.net.eval()(torch.zeros(8, 3, 112, 112))
    assert sum(model.costs().values()) == counter.get_total_flops() // 2


def test_the_data_set_of_the_guide(tmp_path):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", torch.zeros(4, 3, 16, 16, dtype=torch.uint8), fps=8)
    (tmp_path / "annotations.csv").write_text("file,label,split\na.mp4,eats,train\n")
    data = run(code("write_a_data_set.md", "vidcore_mine.py"))["Cats"](str(tmp_path), batch_size=1)
    from vidcore import ClipSpec

    data.clip_spec = ClipSpec(frames=2, size=16)
    dataset = data.dataset("train")
    assert isinstance(dataset, VideoDataset)
    assert dataset.collate([dataset[0]])["target"].tolist() == [1]


def test_the_tutorial_makes_the_example(tmp_path):
    """`vid plugin new` plus the tutorial's files give the plugin in examples/, which has its own tests."""
    from vidcore.cli import new_plugin

    new_plugin.write("frame_diff", tmp_path)
    for name in ("src/vidcore_frame_diff/__init__.py", "tests/test_conformance.py"):
        (tmp_path / name).write_text(code("tutorial.md", name))
    example = DOCS.parent / "examples" / "third_party_plugin"
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {path: (example / path).read_text() for path in made}


def test_the_commands_of_the_tutorial_have_the_options_that_they_use(monkeypatch):
    """Check the options as `vid` does before it imports anything."""
    from vidcore.cli import options

    monkeypatch.syspath_prepend(str(DOCS.parent / "examples" / "third_party_plugin" / "src"))
    chosen = {"model": "vidcore_frame_diff.FrameDiff", "data": "vidcore.data.moving_digits"}
    assert "width" in options.options_of("model", chosen)
    lines = re.findall(r"^vid (?:fit|test) .*", (DOCS / "tutorial.md").read_text().replace("\\\n", " "), re.M)
    assert len(lines) == 3
    for line in lines:
        _, command, *argv = line.split()
        options.check(command, argv, chosen)


def test_the_python_of_the_guide(tmp_path, monkeypatch, capsys):
    """Every block runs, in order; what the page says of them is true."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VID_FIT__TRAINER__ACCELERATOR", "cpu")
    for name, brightness in (("clap", 40), ("wave", 200)):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(5):
            video = torch.full((8, 3, 32, 40), brightness + number, dtype=torch.uint8)
            write_video(tmp_path / "clips" / name / f"{number}.mp4", video, fps=8)
    shutil.copy("clips/wave/0.mp4", "a.mp4")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    names: dict = {"__name__": "guide"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"block {number}", "exec"), names)
        if number == 0:
            shutil.copy(names["run"].best, "best.ckpt")
            Path("clips/wave/broken.avi").write_bytes(b"not a video")
            save_file(names["run"].model().module.state_dict(), "movinet.safetensors")
    assert names["run"].folder == tmp_path / "runs" / "movinet_folder" / "version_0"
    assert [row["path"] for row in names["rows"]] == ["a.mp4"]
    assert "error" in names["row"]  # the broken file is the last of the folder
    assert len(list(Path("drawn").glob("*.mp4"))) == 6
    assert names["model"].classes == ("clap", "wave")
    assert names["answer"]["frame"] == 9  # ten frames that are made in the block
    assert "no option --data.rot; did you mean --data.root?" in capsys.readouterr().out
