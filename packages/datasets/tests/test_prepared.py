"""Read the output of ``vid data prepare``: same task, samples and clips, from a folder or an object store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
import torch
from colours import BrightSquare, Colours

from vidcore import ClipSpec
from vidcore.errors import UserError
from vidcore.reading.dataset import VideoDataset
from vidcore.reading.sampler import SeededSampler
from vidcore.video import open_video, read_audio
from vidcore_datasets import preparing as prepare
from vidcore_datasets.csv import Csv, read_csv
from vidcore_datasets.prepared import Prepared, read_prepared

SPEC = ClipSpec(frames=3, size=16, modalities=("rgb", "audio"), audio_seconds=0.2)
CORE_TESTS = Path(__file__).parents[2] / "core" / "tests"


def written(data, target, form="shards", **options):
    """Prepare the data set in this process."""
    samples, settings = {"train": data.samples("train")}, prepare.Settings(form, str(target), **options)
    jobs = prepare.jobs_of(samples, settings)
    with prepare.claimed(settings, jobs):
        results = [prepare.do(settings, job) for job in jobs]
        assert not any(result.failure or result.unreadable for result in results), results
        prepare.write_samples(samples, data.task, settings, results)
    return str(target)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    data = Colours(tmp_path_factory.mktemp("clips"), audio=True)
    data.prepare_data()
    return data


@pytest.fixture(scope="module")
def shards(clips, tmp_path_factory):
    """About four shards of three clips each."""
    pytest.importorskip("litdata")
    return written(clips, tmp_path_factory.mktemp("prepared") / "shards", shard_bytes=20_000)


def items(samples, task, spec=SPEC):
    dataset = VideoDataset(samples, task, spec)
    return [dataset[index] for index in range(len(dataset))]


def assert_same(first, second):
    assert len(first) == len(second) == 12
    for one, other in zip(first, second, strict=True):
        assert (one["id"], one["target"], one["present"]) == (other["id"], other["target"], other["present"])
        for modality in ("rgb", "audio"):
            assert torch.equal(one["inputs"][modality], other["inputs"][modality])


def test_clips_from_shards_are_those_of_the_files(clips, shards):
    data = Prepared(shards)
    assert data.task == clips.task
    assert len({sample.path.partition("#")[0] for sample in data.samples("train")}) > 2
    assert_same(items(clips.samples("train"), clips.task), items(data.samples("train"), data.task))


@pytest.mark.parametrize("backend", ["decord", "torchcodec"])
def test_other_backends_leave_shards_to_pyav(shards, backend):
    from vidcore.video import installed_backends

    if backend not in installed_backends():
        pytest.skip("not installed")
    with open_video(Prepared(shards).samples("train")[0].path, backend) as video:
        assert video.backend == "pyav"


def test_multi_label_and_detection(tmp_path):
    pytest.importorskip("litdata")
    several = Colours(tmp_path / "clips", kind="multi_label", per_class=1)
    several.prepare_data()
    annotations = read_prepared(written(several, tmp_path / "several"))
    assert annotations.task == several.task
    assert [sample.target for sample in annotations.samples["train"]] == [(0,), (1,), (2,)]

    boxes = BrightSquare(str(tmp_path / "squares"))
    boxes.prepare_data()
    spec = ClipSpec(frames=6, size=32)
    for form in ("shards", "video", "frames"):
        annotations = read_prepared(written(boxes, tmp_path / form, form))
        before = items(boxes.samples("train"), boxes.task, spec)
        for one, other in zip(before, items(annotations.samples["train"], annotations.task, spec), strict=True):
            assert one["target"].keys() == other["target"].keys()
            for key, value in one["target"].items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(other["target"][key])), key


def test_what_was_prepared_can_be_prepared(clips, shards, tmp_path):
    frames = written(Prepared(shards), tmp_path / "frames", "frames")  # of videos in shards
    video = written(Prepared(frames), tmp_path / "video", "video")  # of folders of frames
    again = Prepared(written(Prepared(video), tmp_path / "shards"))
    assert again.task == clips.task
    for before, after in zip(clips.samples("train"), again.samples("train"), strict=True):
        assert (before.id, before.target) == (after.id, after.target)
        with open_video(before.path) as one, open_video(after.path) as other:
            assert (one.num_frames, one.size, one.fps) == (other.num_frames, other.size, pytest.approx(other.fps))
            assert (one.frames(range(6)).float() - other.frames(range(6)).float()).abs().mean() < 10
    written(clips, tmp_path / "other")
    with pytest.raises(UserError, match="was prepared with other videos"):
        written(Prepared(shards), tmp_path / "other")


def test_from_an_object_store(clips, tmp_path):
    pytest.importorskip("litdata")
    url = written(clips, "memory://bucket/shards", shard_bytes=20_000)
    data = Prepared(url, batch_size=5, num_workers=2)
    assert data.samples("train")[0].path.startswith("memory://bucket/shards/chunk-0-0.bin#bytes=")
    expected = items(clips.samples("train"), clips.task)
    assert_same(expected, items(data.samples("train"), data.task))
    store = fsspec.filesystem("memory")
    store.pipe_file("/bucket/shards/chunk-0-1.bin", store.cat_file("/bucket/shards/chunk-0-1.bin")[:-1])
    with pytest.raises(UserError, match=r"chunk-0-1\.bin is truncated or was replaced: it has \d+ bytes, expected"):
        Prepared(url).samples("train")
    store.rm_file("/bucket/shards/chunk-0-1.bin")
    with pytest.raises(UserError, match=r"a shard of memory://bucket/shards is missing: .*chunk-0-1\.bin"):
        Prepared(url).samples("train")
    with pytest.raises(UserError, match=r"memory://elsewhere/samples\.jsonl does not exist"):
        Prepared("memory://elsewhere").samples("train")


def test_a_whole_file_at_a_url(clips):
    path = clips.samples("train")[0].path
    fsspec.filesystem("memory").pipe_file("/clips/a.mp4", Path(path).read_bytes())
    with open_video("memory://clips/a.mp4") as video, open_video(path) as file:
        assert torch.equal(video.frames([5, 0]), file.frames([5, 0]))
    assert torch.equal(read_audio("memory://clips/a.mp4", 16_000), read_audio(path, 16_000))
    with pytest.raises(UserError, match=r"memory://clips/b\.mp4"):
        open_video("memory://clips/b.mp4")
    with pytest.raises(UserError, match="nosuch://x cannot be opened"):
        open_video("nosuch://x")


def test_a_csv_file_in_an_object_store_and_urls_in_one(clips, tmp_path):
    store, names = fsspec.filesystem("memory"), [Path(sample.path).name for sample in clips.samples("train")]
    for name in names:
        store.pipe_file(f"/csv/{name}", (clips.root / name).read_bytes())
    table = "path,label,split\n" + "".join(
        f"{name},{name.partition('_')[0]},{'val' if index > 8 else 'train'}\n" for index, name in enumerate(names)
    )
    store.pipe_file("/csv/labels.csv", table.encode())
    (tmp_path / "labels.csv").write_text(table.replace("\n", "\nmemory://csv/", 12))
    for path in ("memory://csv/labels.csv", str(tmp_path / "labels.csv")):
        data = Csv(path)
        first = data.samples("train")[0]
        assert first.path == f"memory://csv/{names[0]}"
        assert items([first], data.task)[0]["id"] == first.id
    store.pipe_file("/csv/bad.csv", b"path,label\nx.mp4,")
    with pytest.raises(UserError, match=r"^memory://csv/bad\.csv: clips without a label"):
        read_csv("memory://csv/bad.csv")
    with pytest.raises(UserError, match=r"^memory://csv/none\.csv does not exist"):
        read_csv("memory://csv/none.csv")


class Ranges(BaseHTTPRequestHandler):
    """HTTP server of a folder's files with byte ranges, as an object store."""

    root = ""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        try:
            content = (Path(self.root) / self.path.lstrip("/")).read_bytes()
        except OSError:
            self.send_error(404)
            return
        asked = self.headers.get("Range")
        first, last = (int(part) if part else len(content) - 1 for part in asked[6:].split("-")) if asked else (0, 0)
        part = content[first : last + 1] if asked else content
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.wfile.write(part)

    def log_message(self, *args):
        pass


@pytest.fixture
def served(shards):
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Ranges,), {"root": shards}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_over_http_by_workers_that_were_forked(clips, served):
    data = Prepared(served, batch_size=5, num_workers=2)
    data.clip_spec = SPEC
    data.samples("train")  # use the store in this process before the workers are forked
    dataset = VideoDataset(data.samples("train"), data.task, SPEC)
    loader = torch.utils.data.DataLoader(dataset, num_workers=2, collate_fn=lambda item: item[0])
    assert_same(items(clips.samples("train"), clips.task), list(loader))


def test_every_sample_once_an_epoch_and_the_same_ones_after_a_resumption(shards):
    data = Prepared(shards)
    dataset = VideoDataset(data.samples("train"), data.task, ClipSpec(frames=2, size=16), train=True)

    def read(rank, skipped=0):
        sampler = SeededSampler(dataset, train=True, seed=7, num_replicas=2, rank=rank)
        sampler.set_epoch(3)
        sampler.resume(3, skipped)
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=2, sampler=sampler, num_workers=2, collate_fn=dataset.collate
        )
        assert len(loader) == 3
        return list(loader)

    whole = [read(0), read(1)]
    assert sorted(video for part in whole for batch in part for video in batch["ids"]) == sorted(
        sample.id for sample in data.samples("train")
    )
    for rank in (0, 1):
        rest = read(rank, skipped=2)
        assert [batch["ids"] for batch in rest] == [batch["ids"] for batch in whole[rank][1:]]
        for one, other in zip(rest, whole[rank][1:], strict=True):
            assert torch.equal(one["inputs"]["rgb"], other["inputs"]["rgb"])


NOTED = """
import json, sys
from pathlib import Path
from vidcore_datasets.prepared import Prepared

class Noted(Prepared):
    def __init__(self, root: str, notes: str):
        super().__init__(root, batch_size=2, num_workers=2)
        self.notes = Path(notes)

    def samples(self, split):
        return super().samples("train")[: 12 if split == "train" else 2]

    def on_before_batch_transfer(self, batch, dataloader_idx):
        if self.trainer.training:
            with (self.notes / f"{self.trainer.global_rank}.jsonl").open("a") as file:
                file.write(json.dumps([self.trainer.current_epoch, batch["ids"]]) + "\\n")
        return super().on_before_batch_transfer(batch, dataloader_idx)
"""


KILLED_AND_RESUMED = """
import multiprocessing, os, sys
import vidcore.cli.lightning  # once for all processes, which are forked
from vidcore.cli import main

def fit(*more, **environment):
    os.environ.update(environment)
    sys.exit(main([*sys.argv[1:], *more]))

killed = multiprocessing.get_context("fork").Process(target=fit, kwargs={"KILL_AT": "1.1"})
killed.start()
killed.join()
assert killed.exitcode == 1
fit("--ckpt_path", "last")
"""


def test_two_processes_with_two_workers_killed_in_mid_epoch_read_each_sample_once(shards, tmp_path):
    (tmp_path / "noted.py").write_text(NOTED)
    (tmp_path / "notes").mkdir()
    saving = "lightning.pytorch.callbacks.ModelCheckpoint"
    done = subprocess.run(
        [
            *(sys.executable, "-c", KILLED_AND_RESUMED, "fit", "--model", "resume_models.Fragile"),
            *("--data", "noted.Noted", "--data.root", shards, "--data.notes", str(tmp_path / "notes")),
            *("--trainer.devices", "2", "--trainer.strategy", "ddp_fork", "--trainer.accelerator", "cpu"),
            *("--trainer.callbacks", saving, "--trainer.callbacks.every_n_train_steps", "1"),
            *("--trainer.callbacks.save_last", "true", "--trainer.callbacks.filename", "newest"),
            *("--trainer.max_epochs", "2", "--trainer.enable_progress_bar", "false"),
            *("--trainer.logger.save_dir", str(tmp_path / "runs")),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(CORE_TESTS), str(tmp_path)]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and "terminated with signal SIGKILL" in done.stderr, done.stderr
    counts = Counter[tuple[int, str]]()
    for notes in (tmp_path / "notes").iterdir():
        steps = [json.loads(line) for line in notes.read_text().splitlines()]
        assert len(steps) == 7
        assert steps[4] == steps[5]  # the step that was killed is repeated
        del steps[4]
        counts.update((epoch, video) for epoch, ids in steps for video in ids)
    assert len(counts) == 2 * 12 and set(counts.values()) == {1}, counts


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: ["", *lines[1:]], "line 1: "),
        (lambda lines: [lines[0].replace('"version": 1', '"version": 9'), *lines[1:]], "has version 9, expected 1"),
        (lambda lines: [*lines[:3], lines[3][:20]], "line 4: "),
        (
            lambda lines: [lines[0], '{"split": "train", "path": "../../etc/passwd"}'],
            "line 2: .*leads out of the folder",
        ),
        (lambda lines: [lines[0], '{"split": "train", "path": "C:\\\\a.mp4"}'], "line 2: .*leads out of the folder"),
        (lambda lines: [lines[0].replace("chunk-0-0", "../chunk-0-0")], "line 1: .*leads out of the folder"),
        (lambda lines: [lines[0], '{"split": "traim", "path": "a.mp4"}'], "line 2: 'traim'"),
    ],
)
def test_what_cannot_be_understood_is_named(shards, tmp_path, change, says):
    copy = Path(shutil.copytree(shards, tmp_path / "copy"))
    lines = (copy / "samples.jsonl").read_text().splitlines()
    (copy / "samples.jsonl").write_text("\n".join(change(lines)))
    with pytest.raises(UserError, match=rf"samples\.jsonl.*{says}"):
        read_prepared(str(copy))
