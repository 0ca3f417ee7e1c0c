from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from colours import COLOURS, write
from lightning.pytorch import Trainer
from small_models import BrightestSpot, MeanColour

from vidcore import Task, progress
from vidcore.cli import main
from vidcore.predict.rows import Output
from vidcore.reading.dataset import VideoDataset
from vidcore.video import open_video, write_video

TESTS = Path(__file__).parent
PLUGIN = "PLUGIN_API = 1\nfrom small_models import BrightestSpot, LookOrListen, MeanColour\n"


@pytest.fixture
def installed(fake_plugins, monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))
    models = {"mean": "MeanColour", "spot": "BrightestSpot", "listen": "LookOrListen"}
    entry_points = {"vidcore.models": {name: f"vid_small:{cls}" for name, cls in models.items()}}
    fake_plugins.add("vidcore-small", entry_points, {"vid_small": PLUGIN})
    monkeypatch.setenv("VID_PLUGINS", "vidcore-small,vidcore-deploy")
    return fake_plugins


def save(model, name, path):
    """A checkpoint as the trainer writes it, under the name that the model is installed by."""
    model.hparams["_class_path"] = f"vidcore.models.{name}"
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return str(path)


def knows_colours():
    """The class is the strongest channel."""
    model = MeanColour(Task("single_label", tuple(COLOURS)))
    model.load_state_dict(
        {
            **model.state_dict(),
            "net.0.weight": torch.eye(8, 3),
            "net.0.bias": torch.full((8,), 3.0),
            "net.3.weight": torch.eye(3, 8),
            "net.3.bias": torch.zeros(3),
        }
    )
    return model


@pytest.fixture
def checkpoint(installed, tmp_path):
    return save(knows_colours(), "mean", tmp_path / "mean.ckpt")


@pytest.fixture
def clips(tmp_path):
    """Two of each colour, and one that is none."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for label, (name, colour) in enumerate(COLOURS.items()):
        for index in range(2):
            write(folder / f"{name}_{index}.mp4", colour, 10 * label + index)
    (folder / "gone bad ü.mp4").write_bytes(b"this is not a video")
    return folder


def predict(clips, checkpoint, *arguments):
    return main(["predict", str(clips), "--ckpt_path", checkpoint, "--accelerator", "cpu", *map(str, arguments)])


def read(path):
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def same(rows, others):
    """Whether rows tell the same but for the time they took."""
    return [row | {"ms": 0} for row in rows] == [row | {"ms": 0} for row in others]


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that are read."""
    seen = []
    whole = VideoDataset.read
    monkeypatch.setattr(
        VideoDataset, "read", lambda self, sample: seen.append(Path(sample.path).name) or whole(self, sample)
    )
    return seen


def test_rows_are_printed_in_order_and_bad_files_are_reported(checkpoint, clips, capsys, installed):
    assert predict(clips, checkpoint, "--batch_size", "3") == 1
    printed = capsys.readouterr()
    rows = {Path(row["path"]).name: row for row in map(json.loads, printed.out.splitlines())}
    assert list(rows).count("gone bad ü.mp4") == 1
    assert len(rows) == 7
    for name in COLOURS:
        assert rows[f"{name}_0.mp4"]["top"][0]["class"] == name
    assert list(rows["red_0.mp4"]) == ["path", "top", "gmacs", "ms"]
    assert list(rows["gone bad ü.mp4"]) == ["path", "error"]
    assert "gone bad ü.mp4: " in printed.err
    assert "vid: 1 of 7 videos could not be read" in printed.err

    (clips / "gone bad ü.mp4").unlink()
    assert predict(clips, checkpoint) == 0


def test_a_model_by_name_with_weights_and_classes(installed, clips, tmp_path, capsys):
    weights = tmp_path / "weights.pt"
    torch.save(knows_colours().state_dict(), weights)
    names = tmp_path / "names.txt"
    names.write_text("rouge\nvert\nbleu\n")
    argv = ["predict", str(clips / "red_0.mp4"), "--model", "mean", "--accelerator", "cpu"]
    assert main([*argv, "--weights", str(weights), "--classes", str(names)]) == 0
    assert json.loads(capsys.readouterr().out)["top"][0]["class"] == "rouge"
    assert main(argv) == 2
    assert "--weights FILE" in capsys.readouterr().err


def test_a_run_goes_on_where_the_last_one_stopped(checkpoint, clips, tmp_path, reads, capsys):
    whole, output = tmp_path / "whole.jsonl", tmp_path / "deep" / "er" / "out.jsonl"
    assert predict(clips, checkpoint, "--output", whole) == 1
    assert predict(clips / "blue_*.mp4", checkpoint, "--output", output) == 0
    capsys.readouterr()

    lines = output.read_bytes().splitlines(keepends=True)
    bad = json.dumps({"path": str(clips / "gone bad ü.mp4"), "error": "as it was then"}, ensure_ascii=False).encode()
    output.write_bytes(lines[0] + bad + b"\n" + lines[1][:-20])  # a kill cut the last row off
    reads.clear()
    assert predict(clips, checkpoint, "--output", output) == 1
    assert "vid: 1 of 7 videos are in" in capsys.readouterr().err
    assert "blue_0.mp4" not in reads
    assert {"blue_1.mp4", "gone bad ü.mp4"} < set(reads)
    assert same(read(output), read(whole))

    write(clips / "gone bad ü.mp4", COLOURS["red"], 1)
    reads.clear()
    assert predict(clips, checkpoint, "--output", output) == 0
    assert reads == ["gone bad ü.mp4"]
    assert predict(clips, checkpoint, "--output", output) == 0
    assert [row["path"] for row in read(output)] == [row["path"] for row in read(whole)]

    other = tmp_path / "elsewhere.mp4"
    write(other, COLOURS["blue"], 3)
    before = read(output)
    assert predict(other, checkpoint, "--output", output) == 0
    assert read(output)[:-1] == before, "rows of videos that are not in the list are kept"


def test_parquet_has_the_same_rows(checkpoint, clips, tmp_path, reads):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    lines, output = tmp_path / "out.jsonl", tmp_path / "split=val" / "out.parquet"
    predict(clips, checkpoint, "--output", lines)
    predict(clips / "blue_*.mp4", checkpoint, "--output", output)
    reads.clear()
    assert predict(clips, checkpoint, "--output", output) == 1
    assert len(reads) == 5
    table = parquet.ParquetFile(output).read()
    assert pyarrow.types.is_nested(table.schema.field("top").type)
    rows = [{key: value for key, value in row.items() if value is not None} for row in table.to_pylist()]
    assert same(rows, read(lines))
    assert [path.name for path in output.parent.iterdir()] == ["out.parquet"]


def test_parquet_without_pyarrow_says_what_to_install(checkpoint, clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert predict(clips, checkpoint, "--output", tmp_path / "out.parquet") == 1
    assert "pip install 'vidcore[parquet]'" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_ctrl_c_keeps_what_was_finished(checkpoint, clips, tmp_path, monkeypatch, capsys, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    whole = VideoDataset.read

    def interrupted(self, sample):
        if sample.path.endswith("green_0.mp4"):
            raise KeyboardInterrupt
        return whole(self, sample)

    output = tmp_path / f"out.{ending}"
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(VideoDataset, "read", interrupted)
        assert predict(clips, checkpoint, "--output", output) == 130
    signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
    assert f"vid: 3 rows are in {output}" in capsys.readouterr().err
    assert len(Output(str(output)).read()) == 3
    assert [path.name for path in tmp_path.glob("*out.*")] == [output.name]
    assert predict(clips, checkpoint, "--output", output) == 1
    assert len(Output(str(output)).read()) == 7


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_full_disk_keeps_the_rows_so_far(checkpoint, clips, tmp_path, capsys, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    resource = pytest.importorskip("resource")
    output, whole = tmp_path / f"out.{ending}", tmp_path / "whole.jsonl"
    predict(clips, checkpoint, "--output", whole)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole.stat().st_size // 2, limits[1]))  # in the middle of a row
    try:
        status = predict(clips, checkpoint, "--output", output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 1
    assert f"{output}{'.part0' if ending == 'parquet' else ''}: File too large; the rows so far" in (
        capsys.readouterr().err
    )
    kept = Output(str(output)).read()
    assert same(kept, read(whole)[: len(kept)])
    assert 0 < len(kept) < 7
    assert predict(clips, checkpoint, "--output", output) == 1
    assert same(Output(str(output)).read(), read(whole))


def test_a_full_disk_while_parts_are_joined_loses_nothing(tmp_path, monkeypatch):
    output = Output(str(tmp_path / "out.jsonl"))
    output.path.write_text('{"path": "a", "gmacs": 1}\n')
    output.file(0, 2).write({"path": "b", "gmacs": 1})
    before = output.read()

    def full(self, lines):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vidcore.predict.rows._write_json", full)
    with pytest.raises(Exception, match=r"out\.jsonl: No space left on device; the rows so far are kept"):
        output.join(["a", "b"])
    assert output.read() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.part0"]


def test_two_runs_on_one_output_do_not_mix_and_a_killed_one_leaves_no_lock(checkpoint, clips, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    hold = (
        "import time; from vidcore.predict.rows import Output\n"
        f"with Output({str(output)!r}).locked(): print(1, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        assert predict(clips, checkpoint, "--output", output) == 1
        assert f"another vid predict is writing {output}" in capsys.readouterr().err
        assert not output.exists()
    finally:
        holder.kill()
        holder.wait()
    assert predict(clips / "red_0.mp4", checkpoint, "--output", output) == 0
    assert len(read(output)) == 1


@pytest.mark.parametrize("text", ['{"path": "a.mp4", "label": 3}\n', "some notes\nof mine", "[]\n"])
def test_a_file_of_something_else_is_left_alone(checkpoint, clips, tmp_path, capsys, text):
    output = tmp_path / "out.jsonl"
    output.write_text(text)
    assert predict(clips, checkpoint, "--output", output) == 1
    assert f"{output} is left alone: its line 1 is no row" in capsys.readouterr().err
    assert output.read_text() == text


def test_a_file_that_vanishes_after_the_start_is_a_row_with_an_error(checkpoint, clips, monkeypatch, capsys):
    whole = VideoDataset.read

    def vanishing(self, sample):
        Path(sample.path).unlink() if "green_1" in sample.path else None
        return whole(self, sample)

    monkeypatch.setattr(VideoDataset, "read", vanishing)
    assert predict(clips / "*_1.mp4", checkpoint) == 1
    rows = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert [("error" in row) for row in rows] == [False, True, False]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_name_that_is_not_utf8(checkpoint, clips, tmp_path, reads, ending):
    folder = tmp_path / "odd"
    folder.mkdir()
    (clips / "red_0.mp4").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.mp4"))
    (clips / "gone bad ü.mp4").rename(os.fsdecode(os.fsencode(folder) + b"/bad\xe9.mp4"))
    output = tmp_path / f"out.{ending}"
    for expected in (2, 1):
        reads.clear()
        assert predict(folder, checkpoint, "--output", output, "--render", tmp_path / "drawn") == 1
        assert len(reads) == expected
    bad, good = Output(str(output)).read()
    assert good["path"].endswith(r"caf\udce9.mp4")
    assert r"bad\udce9.mp4" in bad["error"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--output", "rows.csv"], "--output rows.csv must end in .jsonl or .parquet"),
        (["--output", "a.jsonl"], "--output a.jsonl is a folder"),
        (["--devices", "2"], "several processes need --output FILE"),
        (["--views", "0"], "--views must be between 1 and 1000000, got 0"),
        (["--num_workers", "-1"], "--num_workers must be between 0 and 1024, got -1"),
        (["--render", "file"], "--render file is not a folder"),
        (["--render", "clips"], "--render clips holds the videos"),
        (["missing.mp4"], "no file missing.mp4"),
        (["--outptu", "x"], "did you mean --output?"),
        (["--accelerator", "nonsense"], "nonsense"),
    ],
)
def test_usage_errors(checkpoint, clips, tmp_path, capsys, arguments, says):
    (tmp_path / "a.jsonl").mkdir()
    (tmp_path / "file").write_text("")
    assert main(["predict", str(clips), *arguments, "--ckpt_path", checkpoint]) == 2
    assert says in capsys.readouterr().err


def test_a_long_video_is_not_decoded_whole(checkpoint, tmp_path, monkeypatch):
    from vidcore.reading import dataset

    asked = []

    class Counting:
        def __init__(self, video):
            self.video = video

        def __enter__(self):
            self.video.__enter__()
            return self

        def __exit__(self, *error):
            self.video.__exit__(*error)

        def __getattr__(self, name):
            return getattr(self.video, name)

        def frames(self, indices):
            asked.append(len(indices))
            return self.video.frames(indices)

    monkeypatch.setattr(dataset, "open_video", lambda *arguments: Counting(open_video(*arguments)))
    for frames in (6, 600):
        write(tmp_path / f"{frames}.mp4", COLOURS["red"], 1, frames=frames)
    assert predict(tmp_path / "6*.mp4", checkpoint) == 0
    assert asked == [2, 2]


def lime(path):
    with open_video(path) as video:
        frame = video.frames([0])[0].float()
    return int(((frame[1] > 180) & (frame[0] < 90) & (frame[2] < 90)).sum())


def test_rendering_draws_the_prediction_and_touches_no_input(checkpoint, clips, tmp_path, capsys):
    again = clips / "again"
    again.mkdir()
    write(again / "red_0.mp4", COLOURS["red"], 7)
    odd = torch.randint(0, 255, (5, 3, 37, 35), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    write_video(clips / "tiny.mp4", odd, fps=8)
    inputs = {path: path.read_bytes() for path in clips.rglob("*.mp4")}
    drawn = clips / "drawn"  # below the input: what is rendered is no input of the next run
    for _ in range(2):
        assert predict(clips, checkpoint, "--render", drawn) == 1
        printed = capsys.readouterr()
        rows = [row for row in map(json.loads, printed.out.splitlines()) if "error" not in row]
        assert len(rows) == 8
    assert "passed over 8 files below --render" in printed.err
    rendered = [Path(row["rendered"]) for row in rows]
    assert sorted(rendered) == sorted(drawn.iterdir())
    assert len([path for path in rendered if path.stem.startswith("red_0_")]) == 2
    assert inputs == {path: path.read_bytes() for path in clips.rglob("*.mp4") if drawn not in path.parents}
    for path in rendered:
        with open_video(path) as video:
            assert video.num_frames == 2
            assert min(video.size) >= 240


def test_rendering_never_takes_the_place_of_another_videos_picture(checkpoint, tmp_path, monkeypatch):
    names = ["a/clip.mp4", "b/clip.mp4", "clip.mp4", "clip.mkv", "b/CLIP.mp4", "n\u0303.mp4", "\u00f1.mp4"]
    names += [f"{'x' * 200}{end}.mp4" for end in "ab"]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, COLOURS["red"], number)
    pictures = {}
    for number, name in enumerate(names):  # a call for each
        assert predict(tmp_path / name, checkpoint, "--render", "drawn", "--output", f"{number}.jsonl") == 0
        (row,) = read(f"{number}.jsonl")
        pictures[row["rendered"]] = Path(row["rendered"]).read_bytes()
    assert len(pictures) == len(names)
    # The same name in another folder, relative to it; and a video again.
    folder = tmp_path / "a"
    monkeypatch.chdir(folder)
    drawn = ["--render", tmp_path / "drawn"]
    assert predict("clip.mp4", checkpoint, *drawn, "--output", "again.jsonl") == 0
    monkeypatch.chdir(tmp_path)
    assert {path: Path(path).read_bytes() for path in pictures} == pictures
    assert len(list((tmp_path / "drawn").iterdir())) == len(names)
    assert Path(read("a/again.jsonl")[0]["rendered"]).name == Path(read("0.jsonl")[0]["rendered"]).name


def test_rendering_draws_detections(installed, tmp_path, capsys):
    checkpoint = save(BrightestSpot(Task("detection", ("spot",))), "spot", tmp_path / "spot.ckpt")
    video = torch.full((6, 3, 32, 32), 60, dtype=torch.uint8)
    video[:, :, 14:18, 14:18] = 250
    write_video(tmp_path / "dot.mp4", video, fps=8)
    output = tmp_path / "out.jsonl"
    assert predict(tmp_path / "dot.mp4", checkpoint, "--render", tmp_path / "drawn", "--output", output) == 0
    (row,) = read(output)
    assert {box["frame"] for box in row["detections"]} == {0, 1}
    assert lime(row["rendered"]) > 100


def test_progress_in_lines_and_as_a_bar(checkpoint, clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS", 0)
    assert predict(clips / "red*", checkpoint) == 0
    printed = capsys.readouterr()
    assert "vid: 1 of 2 videos\nvid: 2 of 2 videos\n" in printed.err
    assert len(printed.out.splitlines()) == 2
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert predict(clips / "red*", checkpoint) == 0
    printed = capsys.readouterr()
    assert "2/2" in printed.err
    assert [json.loads(line)["top"][0]["class"] for line in printed.out.splitlines()] == ["red", "red"]


def command(launcher, arguments, installed):
    environment = {key: value for key, value in os.environ.items() if key not in ("WORLD_SIZE", "LOCAL_RANK", "RANK")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(installed.folder), str(TESTS)]), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, *launcher, "-m", "vidcore.cli", *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize(
    "launcher", [[], ["-m", "torch.distributed.run", "--nproc_per_node", "2"]], ids=["vid", "torchrun"]
)
def test_two_processes_share_the_list(checkpoint, clips, tmp_path, installed, launcher):
    whole, output = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    predict(clips, checkpoint, "--output", whole)
    rows = read(whole)
    output.write_text(json.dumps(rows[0]) + "\n")
    # What a run of five processes left when it was killed.
    output.with_name("out.jsonl.part4").write_text(json.dumps(rows[1]) + "\n" + json.dumps(rows[2])[:30])
    arguments = ["predict", str(clips), "--ckpt_path", checkpoint, "--accelerator", "cpu", "--devices", "2"]
    done = command(launcher, [*arguments, "--output", str(output)], installed)
    assert done.returncode == 1, done.stderr
    assert "vid: 2 of 7 videos are in" in done.stderr
    assert "vid: 1 of 7 videos could not be read" in done.stderr
    # Older versions of torch say there how many processes have met, both at once.
    assert [line for line in done.stdout.splitlines() if "Gloo" not in line and "peer ranks" not in line] == []
    assert same(read(output), rows)
    assert [path.name for path in tmp_path.glob("*out.*")] == [output.name]
