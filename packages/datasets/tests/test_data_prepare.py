"""``vid data prepare``: what it writes, and what happens when it is disturbed."""

from __future__ import annotations

import csv
import errno
import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from colours import COLOURS, BrightSquare, Colours, write
from filelock import FileLock

from vidcore import Sample, Task
from vidcore.cli import main
from vidcore.errors import UserError
from vidcore.video import VideoError, open_video, read_audio, write_video
from vidcore_datasets import preparing as prepare
from vidcore_datasets.commands.isolated import IsolatedError, run_isolated
from vidcore_datasets.prepared import read_prepared
from vidcore_datasets.preparing import Settings, shards
from vidcore_datasets.preparing.reencode import reencode, small_size

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Twelve clips, every other one with sound, and one that is none."""
    data = Colours(tmp_path_factory.mktemp("clips"), broken=1, audio=True)
    data.prepare_data()
    return data


@pytest.fixture
def in_process(monkeypatch):
    """Jobs are done here: to start a process takes longer than all of them."""

    def run(function, jobs, workers, limit):
        for job in jobs:
            yield job, function(job)

    monkeypatch.setattr("vidcore_datasets.preparing.run.run_isolated", run)
    monkeypatch.syspath_prepend(str(TESTS))


def run(data, folder, *arguments):
    return main(
        [
            *("data", "prepare", "--data", "colours.Colours", "--data.root", str(data.root), "--data.broken", "1"),
            *("--data.audio", "true", "--to", str(folder), "--num_workers", "2", *arguments),
        ]
    )


def rows(folder):
    head, *lines = (Path(folder) / "samples.jsonl").read_text().splitlines()
    return json.loads(head), [json.loads(line) for line in lines]


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def textured(path, fps=12.5, frames=40):
    """160 × 120, smooth and moving, with two seconds of a tone."""
    rise = torch.linspace(0, 6, 160)[None, :] + torch.linspace(0, 3, 120)[:, None]
    video = torch.stack([torch.stack([rise + t / 9, 2 * rise - t / 5, 3 - rise]).sin() for t in range(frames)])
    tone = 0.4 * torch.sin(torch.arange(32_000) * 0.2)
    write_video(path, (video * 100 + 128).to(torch.uint8), fps, audio=tone, audio_rate=16_000)
    return str(path)


def test_a_reencoded_video_has_the_frames_the_times_and_the_sound_of_the_source(tmp_path):
    source = textured(tmp_path / "source.mp4")
    with open_video(source) as video:
        assert reencode(video, source, tmp_path / "small.mp4", 60, 8) == 40
        before, times = video.frames(range(40)), video.times
    with open_video(tmp_path / "small.mp4") as small:
        assert (small.num_frames, small.size) == (40, (60, 80))
        assert torch.allclose(small.times, times, atol=1e-4)
        after = small.frames(range(40))
    expected = torch.nn.functional.interpolate(before.float(), scale_factor=0.5, mode="area")
    off = [(after.float() - expected.roll(shift, 0)).abs().mean() for shift in (0, 1, -1)]
    assert off[0] < 4 < min(off[1:]) - 2
    with av.open(str(tmp_path / "small.mp4")) as container:
        video = [packet for packet in container.demux(video=0) if packet.size]
        assert [i for i, packet in enumerate(video) if packet.is_keyframe] == [0, 8, 16, 24, 32]
    sound, same = read_audio(source, 16_000, 0.5, 1.5), read_audio(tmp_path / "small.mp4", 16_000, 0.5, 1.5)
    assert (sound - same).abs().max() < 0.05


def test_uneven_times_stay(tmp_path):
    path, shown = str(tmp_path / "uneven.mkv"), [0, 40, 50, 200, 210, 900]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p", options={"bf": "0"})
        stream.codec_context.time_base = Fraction(1, 1000)
        for place, shade in zip(shown, range(0, 240, 40), strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), format="rgb24")
            frame.pts, frame.time_base = place, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_video(path) as video:
        assert reencode(video, path, tmp_path / "small.mp4", 32, 8) == 6
        with open_video(tmp_path / "small.mp4") as small:
            assert torch.allclose(small.times, video.times, atol=1e-4)
            assert small.times.tolist() == pytest.approx([place / 1000 for place in shown])


@pytest.mark.parametrize(
    ("size", "short_side", "small"),
    [((240, 427), 256, (240, 426)), ((1080, 1920), 256, (256, 456)), ((100, 31), 10, (32, 10))],
)
def test_only_larger_videos_change_their_size(size, short_side, small):
    assert small_size(*size, short_side) == small


@pytest.mark.parametrize("form", ["video", "frames", "shards"])
def test_every_form_holds_all_that_can_be_read(clips, tmp_path, capsys, in_process, form):
    assert run(clips, tmp_path / "out", "--as", form) == 1
    head, listed = rows(tmp_path / "out")
    assert head["task"] == {"kind": "single_label", "classes": list(COLOURS)}
    assert [(row["id"], row["target"]) for row in listed if row["split"] == "val"] == [
        (sample.id, sample.target) for sample in clips.samples("val")[:12]
    ]
    for row in listed[:12]:
        path = str(tmp_path / "out" / row["path"])
        with open_video(path, fps=row.get("fps")) as video, open_video(row["id"]) as source:
            assert (video.num_frames, video.size, video.fps) == (6, source.size, pytest.approx(8))
            expected = source.frames(range(6)).float()
            assert (video.frames(range(6)).float() - expected).abs().mean() < (1 if form == "shards" else 8)
    (bad,) = list(csv.DictReader((tmp_path / "out" / "unreadable.csv").open()))
    assert bad["path"] == str(clips.root / "broken_0.mp4") and "Invalid data" in bad["reason"]
    said = capsys.readouterr().err
    assert "vid: 12 of 13 videos; 12 in" in said and "1 videos cannot be read, and 3 samples are left out" in said
    assert "--data prepared --data.root" in said

    before = tree(tmp_path / "out")
    assert run(clips, tmp_path / "out", "--as", form) == 1
    assert tree(tmp_path / "out") == before
    assert "12 of them found done; 0 in" in capsys.readouterr().err


def test_litdata_reads_the_shards(clips, tmp_path, in_process):
    litdata = pytest.importorskip("litdata")
    run(clips, tmp_path / "out", "--as", "shards", "--shard_mb", "0.005")
    head, listed = rows(tmp_path / "out")
    assert len(head["shards"]) > 2
    items = [tuple(map(bytes, item)) for item in litdata.StreamingDataset(str(tmp_path / "out"))]
    assert len(items) == 12
    for about, video in items:
        about = json.loads(about)
        assert video == (clips.root / about["path"]).read_bytes()
        assert {sample["split"] for sample in about["samples"]} == {"train", "val", "test"}
        (sample,) = [row for row in listed if row["split"] == "train" and row["id"] == about["samples"][0]["id"]]
        assert about["samples"][0] == {key: sample[key] for key in ("split", "id", "target")}


def test_parts_of_one_video_share_it_and_keep_their_times(tmp_path, in_process):
    path = str(write(tmp_path / "long.mp4", COLOURS["red"], 0, frames=16))
    samples = {"train": [Sample(path, (0,), id="a", end=1.0), Sample(path, (0, 1), id="b", start=1.0)]}
    settings = Settings("shards", str(tmp_path / "out"))
    task, jobs = Task("multi_label", ("x", "y")), prepare.jobs_of(samples, settings)
    with prepare.claimed(settings, jobs):
        assert prepare.write_samples(samples, task, settings, prepare.run_jobs(jobs, settings, 1, 60)) == 0
    _, (first, second) = rows(tmp_path / "out")
    assert first["path"] == second["path"]
    assert (first["target"], first["end"], second["target"], second["start"]) == ([0], 1.0, [0, 1], 1.0)


def test_boxes_shrink_with_their_frames(tmp_path, in_process):
    data = BrightSquare(str(tmp_path / "clips"))
    data.prepare_data()
    followed = [replace(sample, target={**sample.target, "tracks": [7] * 6}) for sample in data.samples("train")]
    samples, settings = {"train": followed}, Settings("video", str(tmp_path / "out"), short_side=16)
    jobs = prepare.jobs_of(samples, settings)
    with prepare.claimed(settings, jobs):
        prepare.write_samples(samples, data.task, settings, prepare.run_jobs(jobs, settings, 1, 60))
    _, listed = rows(tmp_path / "out")
    assert len(listed) == 4
    assert listed[1]["target"]["boxes"] == (data.boxes(1) / 2).tolist()
    assert listed[1]["target"]["frames"] == list(range(6))
    assert listed[1]["target"]["tracks"] == [7] * 6


def test_names_keep_what_tells_videos_apart(tmp_path):
    paths = ["/data/a/x.mp4", "/data/b/x.mp4", "/data/b/x.avi", "/data/b/chunk-0-1.bin#bytes=5-9"]
    jobs = prepare.jobs_of({"train": [Sample(path, 0) for path in paths]}, Settings("video", "out"))
    assert [job.name for job in jobs] == ["a/x.mp4", "b/x.mp4", "b/x.avi.mp4", "b/chunk-0-1.bin-5-9.mp4"]
    with pytest.raises(UserError, match="would both become"):
        prepare.jobs_of({"train": [Sample("/a.avi", 0), Sample("/a.avi.mp4", 0)]}, Settings("video", "out"))


@pytest.mark.parametrize("form", ["video", "shards"])
def test_killed_and_run_again_it_ends_as_if_nothing_had_happened(tmp_path, in_process, monkeypatch, form):
    (tmp_path / "clips").mkdir()
    for index in range(4):
        write(tmp_path / "clips" / f"{index}.mp4", COLOURS["red"], index, frames=50)
    (tmp_path / "labels.csv").write_text(
        "path,label,split\n" + "".join(f"{i}.mp4,{'ab'[i % 2]},{'val' if i > 2 else 'train'}\n" for i in range(4))
    )
    given = ["data", "prepare", "--data", "csv", "--data.path", str(tmp_path / "labels.csv"), "--as", form]
    given += ["--data.root", str(tmp_path / "clips"), "--num_workers", "1"]
    given += ["--shard_mb", "0.001"] if form == "shards" else []
    assert main([*given, "--to", str(tmp_path / "whole")]) == 0

    killed = tmp_path / "killed"
    done = "chunk-*.bin" if form == "shards" else "*.mp4"
    with monkeypatch.context() as patched:
        if form == "video":  # with a worker, which goes on with its video when the process that it works for is gone
            patched.setattr("vidcore_datasets.preparing.run.run_isolated", run_isolated)
        # Forked, with all that is imported: to start Python takes longer than everything else.
        process = multiprocessing.get_context("fork").Process(target=main, args=([*given, "--to", str(killed)],))
        process.start()
        while process.is_alive() and not list(killed.glob(done)):
            time.sleep(0.001)
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (killed / "samples.jsonl").exists()
    assert main([*given, "--to", str(killed)]) == 0
    ours, theirs = tree(killed), tree(tmp_path / "whole")
    assert {name for name in ours if not name.startswith(".")} == {name for name in theirs if not name.startswith(".")}
    assert [name for name in theirs if ours[name] != theirs[name]] == []


def test_two_at_once(clips, tmp_path, capsys, in_process):
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"):
        assert run(clips, tmp_path / "out", "--as", "video") == 1
    assert f"another vid data prepare is writing {tmp_path / 'out'}" in capsys.readouterr().err
    assert run(clips, tmp_path / "out", "--as", "video") == 1
    assert len(rows(tmp_path / "out")[1]) == 36


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("form", "writer"),
    [
        ("video", "vidcore_datasets.preparing.video.reencode"),
        ("frames", "PIL.Image.Image.save"),
        ("shards", "litdata.streaming.writer.BinaryWriter.write_chunk_to_file"),
        ("video", "vidcore_datasets.preparing.video.sync"),
        ("shards", "vidcore_datasets.preparing.write_samples"),
    ],
)
def test_a_full_disk_ends_the_run_and_the_next_one_completes_it(
    clips, tmp_path, capsys, in_process, monkeypatch, form, writer
):
    if form == "shards":
        pytest.importorskip("litdata")
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(writer, full)
        assert run(clips, out, "--as", form) == 1
    said = capsys.readouterr().err
    assert "No space left on device" in said and not (out / "samples.jsonl").exists()
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]
    assert run(clips, out, "--as", form) == 1
    assert len(rows(out)[1]) == 36


def test_what_hangs_its_process_costs_only_itself_in_a_shard(clips, tmp_path, monkeypatch):
    pytest.importorskip("litdata")
    bad, *good = clips.samples("train")[:3]

    def run(function, jobs, workers, limit):
        for job in jobs:
            hangs = any(source.path == bad.path for source in job.sources)
            yield job, IsolatedError("took longer than 120 s") if hangs else function(job)

    monkeypatch.setattr("vidcore_datasets.preparing.run.run_isolated", run)
    settings = Settings("shards", str(tmp_path / "out"))
    jobs = prepare.jobs_of({"train": [bad, *good]}, settings)
    for fresh in (True, False):
        with prepare.claimed(settings, jobs):
            (result,) = prepare.run_jobs(jobs, settings, 1, 120)
        assert result.unreadable == {bad.path: "took longer than 120 s"}
        assert [each.source for each in result.prepared] == [sample.path for sample in good]
        assert result.fresh == fresh


def test_a_mended_video_joins_its_shard(clips, tmp_path, in_process):
    pytest.importorskip("litdata")
    whole, mended = clips.samples("train")[0], tmp_path / "mended.mp4"
    mended.write_bytes(b"this is not a video")
    settings = Settings("shards", str(tmp_path / "out"))
    jobs = prepare.jobs_of({"train": [whole, Sample(str(mended), 1)]}, settings)
    for count in (1, 2):
        with prepare.claimed(settings, jobs):
            (result,) = prepare.run_jobs(jobs, settings, 1, 120)
        assert len(result.prepared) == count
        mended.write_bytes(Path(whole.path).read_bytes())


def test_a_truncated_shard_is_named(clips, tmp_path, in_process):
    pytest.importorskip("litdata")
    run(clips, tmp_path / "out", "--as", "shards")
    last = str(tmp_path / "out" / rows(tmp_path / "out")[1][11]["path"])
    shard = tmp_path / "out" / "chunk-0-0.bin"
    whole = shard.read_bytes()
    assert len(list(shards.items_of(whole))) == 12
    shard.write_bytes(whole[:-100])
    with pytest.raises(VideoError, match=r"chunk-0-0\.bin is truncated or was replaced"):
        open_video(last)
    with pytest.raises(ValueError, match="bytes of"):
        list(shards.items_of(whole[:-100]))
    run(clips, tmp_path / "out", "--as", "shards")  # which mends it
    assert shard.read_bytes() == whole


def test_a_target_of_something_else_is_left_alone(clips, tmp_path, capsys, in_process):
    run(clips, tmp_path / "out", "--as", "video")
    capsys.readouterr()
    for arguments, says in [
        (("--as", "video", "--short_side", "20"), "was prepared with another short_side"),
        (("--as", "frames"), "was prepared with another form"),
    ]:
        assert run(clips, tmp_path / "out", *arguments) == 1
        assert says in capsys.readouterr().err
    assert run(clips, clips.root, "--as", "video") == 1
    assert f"{clips.root} holds something else already" in capsys.readouterr().err
    assert not (clips.root / "prepared.json").exists()


def test_folders_of_pictures_go_into_no_shard(tmp_path):
    with pytest.raises(UserError, match="prepare it --as video first"):
        prepare.jobs_of({"train": [Sample(str(tmp_path), 0)]}, Settings("shards", "out"))


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "arguments are required: --to, --as"),
        (["--to", "x", "--as", "gif"], "--as must be one of video, frames, shards, got 'gif'"),
        (["--to", "x", "--as", "shards", "--gop", "4"], "--gop is for --as video, not for shards"),
        (["--to", "x", "--as", "video", "--gop", "0"], "--gop must be between 1 and 100000, got 0"),
        (["--to", "s3://x", "--as", "video"], "only shards go to a URL"),
        (["--to", "x", "--as", "video"], "vid data prepare needs --data NAME; installed: "),
        (["--to", "x", "--as", "video", "--num_workers", "0"], "--num_workers must be between 1 and 1024, got 0"),
        (["--to", "x", "--as", "video", "--data", "cvs"], "no data named 'cvs' is installed; did you mean csv?"),
        (["--to", "x", "--as", "video", "--data", "csv"], "needs --data.path"),
        (["--to", "x", "--as", "video", "--data", "csv", "--data.pth", "y"], "did you mean --data.path"),
        (["--too", "x"], "required: --to"),
    ],
)
def test_usage_errors(capsys, argv, says):
    assert main(["data", "prepare", *argv]) == 2
    assert says in capsys.readouterr().err


def prepared_csv(tmp_path, paths, form, target="out"):
    """Prepares the clips of a CSV file; returns the exit status."""
    (tmp_path / "data").mkdir(exist_ok=True)
    with (tmp_path / "data" / "labels.csv").open("w", newline="") as file:
        splits = ["test", "val", *["train"] * len(paths)]
        labelled = [(path, "ab"[index % 2], splits[index]) for index, path in enumerate(paths)]
        csv.writer(file).writerows([("path", "label", "split"), *labelled])
    argv = ["data", "prepare", "--data", "csv", "--data.path", str(tmp_path / "data" / "labels.csv")]
    return main([*argv, "--num_workers", "1", "--as", form, "--to", str(tmp_path / "project" / target)])


def planted(tmp_path):
    """Files all around the target, where names that lead out of it would end, with their content."""
    for name in ("clips/a.mp4", "project/clips/a.mp4", "project/a.mp4", "project/a/x", "project/.mine.part"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"mine: {name}")
    return tree(tmp_path)


@pytest.mark.parametrize("form", ["video", "frames", "shards"])
def test_nothing_outside_the_target_is_touched(tmp_path, in_process, form):
    for folder in ("videos/deep", "data/deep"):
        (tmp_path / folder).mkdir(parents=True)
    names = ["../videos/deep/0.mp4", "../data/../videos/1.mp4", str(tmp_path / "videos" / "2.mp4"), "3.mp4"]
    names += ["deep/../../data/4.mp4", "../data/COM1.mp4", "../data/..hidden.mp4", "../data/b .", "../data/x:y.mp4"]
    names += [f"../videos/{'long' * 60}.mp4", "../videos/A.mp4", "../videos/a.mp4", "../data/.c.part"]
    names += ["../data/c:\\d.mp4", "../data/samples.jsonl"]
    for index, name in enumerate(names):
        write(tmp_path / "any.mp4", COLOURS["red"], index).replace(os.path.normpath(tmp_path / "data" / name))
    before = planted(tmp_path)
    assert prepared_csv(tmp_path, names, form) == 0
    target = tmp_path / "project" / "out"
    after = {name: content for name, content in tree(tmp_path).items() if not name.startswith("project/out/")}
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"data/labels.csv"}

    _, listed = rows(target)
    assert sorted(row["id"] for row in listed) == sorted(names)
    where = [row["path"].partition("#")[0] for row in listed]
    assert form == "shards" or len({name.lower() for name in where}) == len(names)
    for name in where:
        assert (target / name).resolve().is_relative_to(target.resolve())
        for part in Path(name).parts:
            assert len(os.fsencode(part)) < 230 and not part.startswith(".") and part.rstrip(". ") == part
            assert not set(part) & set('<>:"\\|?*') and part.partition(".")[0].lower() != "com1"
    samples = [sample for part in read_prepared(str(target)).samples.values() for sample in part]
    assert sorted(sample.id for sample in samples) == sorted(names)
    for sample in samples:
        with open_video(sample.path) as small, open_video(os.path.normpath(tmp_path / "data" / sample.id)) as source:
            assert small.num_frames == source.num_frames
            assert (small.frames([0]).float() - source.frames([0]).float()).abs().mean() < 12


def test_names_do_not_depend_on_how_a_path_is_written(tmp_path):
    def names(*paths):
        return [job.name for job in prepare.jobs_of({"train": [Sample(path, 0) for path in paths]}, SETTINGS)]

    assert names("/data/a/x.mp4", "/data/a/../b/y.mp4") == ["a/x.mp4", "b/y.mp4"]
    assert names("a/x.mp4", str(Path("b/y.mp4").absolute())) == ["a/x.mp4", "b/y.mp4"]
    first = names("https://me:word@host/a.mp4?token=secret&id=1", "https://me:word@host/a.mp4?token=secret&id=2")
    assert len(set(first)) == 2 and not any(word in name for name in first for word in ("secret", "word", "me:"))
    for one, other in (("/d/x.mp4", "/d/b/../x.mp4"), ("/d/x.mp4", "/d/x.mp4/y.mp4")):
        with pytest.raises(UserError, match=r"would both become x\.mp4|would lie inside /d/x\.mp4"):
            names(one, other)


SETTINGS = Settings("video", "out")


@pytest.mark.parametrize("form", ["video", "frames"])
def test_links_below_the_target_lead_nowhere(tmp_path, in_process, capsys, form):
    for index in range(2):
        (tmp_path / "data" / "sub").mkdir(parents=True, exist_ok=True)
        write(tmp_path / "data" / "sub" / f"{index}.mp4", COLOURS["red"], index)
    write(tmp_path / "data" / "2.mp4", COLOURS["red"], 2)
    names = ["sub/0.mp4", "sub/1.mp4", "2.mp4"]
    assert prepared_csv(tmp_path, names, form) == 0
    target, outside = tmp_path / "project" / "out", tmp_path / "outside"
    (target / "sub").rename(outside)
    (outside / "mine").write_text("mine")
    (outside / ".mine.part").mkdir()
    before = tree(outside)
    for name in ("0.mp4", "1.mp4"):  # they are to be made anew
        (outside / name).rename(outside / f"gone {name}")
    before = tree(outside)
    (target / "sub").symlink_to(outside)
    (target / ".left.part").symlink_to(outside)
    assert prepared_csv(tmp_path, names, form) == 1
    assert ".mp4 leads out of it through a link" in capsys.readouterr().err
    assert tree(outside) == before and (outside / ".mine.part").is_dir()
    assert not (target / ".left.part").is_symlink()


def test_a_planted_lock_is_not_followed(tmp_path, in_process, capsys):
    (tmp_path / "data").mkdir()
    for index in range(3):
        write(tmp_path / "data" / f"{index}.mp4", COLOURS["red"], index)
    (tmp_path / "victim").write_text("mine")
    target = tmp_path / "project" / "out"
    target.mkdir(parents=True)
    (target / ".lock").symlink_to(tmp_path / "victim")
    assert prepared_csv(tmp_path, ["0.mp4", "1.mp4", "2.mp4"], "frames") == 1
    assert ".lock: " in capsys.readouterr().err
    (target / ".lock").unlink()
    assert prepared_csv(tmp_path, ["0.mp4", "1.mp4", "2.mp4"], "frames") == 0
    assert (tmp_path / "victim").read_text() == "mine"
