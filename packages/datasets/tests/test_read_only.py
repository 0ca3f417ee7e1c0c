"""The data folders of a checkpoint are read, never written to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from colours import COLOURS, write

from vidcore.cli import main
from vidcore.datamodule import VideoDataModule
from vidcore.module import load_module
from vidcore_datasets.make_digits import make_moving_digits
from vidcore_datasets.render_digits import DigitOptions

CORE_TESTS = Path(__file__).parents[2] / "core" / "tests"
TRAINER = ["--trainer.accelerator", "cpu", "--trainer.num_sanity_val_steps", "0"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(CORE_TESTS))
    for module in ("tables", "make_digits"):
        monkeypatch.setattr(f"vidcore_datasets.{module}.cache_folder", lambda: cache / "vidcore")
    monkeypatch.setattr("vidcore.video.flow.cache_folder", lambda: cache / "vidcore")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    root = tmp_path / "clips"
    for index, (name, colour) in enumerate(COLOURS.items()):
        (root / name).mkdir(parents=True)
        for number in range(4):
            write(root / name / f"{number}.mp4", colour, 4 * index + number)
    return root


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fit(*data: str, model: str = "small_models.MeanColour") -> str:
    argv = ["fit", "--model", model, "--data", *data, "--data.num_workers", "0", *TRAINER, "--trainer.max_epochs", "1"]
    assert main(argv) == 0
    return str(next(Path("runs").rglob("last.ckpt")))


def moved(checkpoint: str, **arguments: object) -> str:
    """Return a checkpoint with other data arguments, as its author could choose them."""
    content = torch.load(checkpoint, weights_only=True)
    content["datamodule_hyper_parameters"].update(arguments)
    torch.save(content, "theirs.ckpt")
    return "theirs.ckpt"


@pytest.mark.parametrize("command", ["test", "validate", "fit"])
def test_splits_of_a_folder(clips: Path, tmp_path: Path, cache: Path, command: str) -> None:
    ours = fit("folder", "--data.root", str(clips))
    assert (clips / "splits.csv").is_file()
    theirs = shutil.copytree(clips, tmp_path / "theirs")
    (theirs / "splits.csv").unlink()
    before, argv = tree(theirs), [command, "--ckpt_path", moved(ours, root=str(theirs)), *TRAINER]
    argv += ["--trainer.max_epochs", "2"] if command == "fit" else []
    assert main(argv) == 0
    assert tree(theirs) == before
    (kept,) = (cache / "vidcore" / "splits").iterdir()
    again = kept.read_text()
    assert main(argv) == 0
    assert tree(theirs) == before and kept.read_text() == again
    assert list((cache / "vidcore" / "splits").iterdir()) == [kept]


def test_a_folder_that_the_user_names_is_written_to(clips: Path, tmp_path: Path) -> None:
    ours = fit("folder", "--data.root", str(clips))
    other = shutil.copytree(clips, tmp_path / "other")
    (other / "splits.csv").unlink()
    argv = ["fit", "--ckpt_path", moved(ours), "--data.root", str(other), *TRAINER, "--trainer.max_epochs", "2"]
    assert main(argv) == 0
    assert (other / "splits.csv").is_file()


def test_splits_of_a_csv_file_and_in_python(clips: Path, tmp_path: Path) -> None:
    lines = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in sorted(clips.rglob("*.mp4"))]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines, ""]))
    ours = fit("csv", "--data.path", str(tmp_path / "labels.csv"))
    (tmp_path / "labels.splits.csv").unlink()
    data = VideoDataModule.load_from_checkpoint(moved(ours))
    assert len(data.samples("train")) == 6 and data.read_only
    assert main(["test", "--ckpt_path", "theirs.ckpt", *TRAINER]) == 0
    assert not (tmp_path / "labels.splits.csv").exists()
    assert not VideoDataModule.load_from_checkpoint("theirs.ckpt", path="other.csv").read_only


def test_rendered_digits(tmp_path: Path, cache: Path) -> None:
    options = DigitOptions("glyph", 32, 16, num_frames=4)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    made = make_moving_digits(options, {"train": 1, "val": 1, "test": 1}, theirs, False, read_only=True)
    assert cache in made.parents and not list(theirs.iterdir())
    ours = make_moving_digits(options, {"train": 1, "val": 1, "test": 1}, theirs, False)
    assert make_moving_digits(options, {"train": 1, "val": 1, "test": 1}, theirs, False, read_only=True) == ours


def test_flow(clips: Path, tmp_path: Path, cache: Path) -> None:
    pytest.importorskip("cv2")
    data = ["folder", "--data.root", str(clips), "--data.flow.cache", str(tmp_path / "flow")]
    ours = fit(*data, model="small_models.Everything")
    assert len(tree(tmp_path / "flow")) > 20
    (tmp_path / "theirs").mkdir()
    content = torch.load(ours, weights_only=True)["datamodule_hyper_parameters"]["flow"]
    theirs = moved(ours, flow={**content, "cache": str(tmp_path / "theirs")})
    assert main(["test", "--ckpt_path", theirs, *TRAINER]) == 0
    assert main(["predict", str(clips / "red"), "--ckpt_path", theirs, "--accelerator", "cpu"]) == 0
    assert not list((tmp_path / "theirs").iterdir())
    assert load_module(theirs).flow_source["cache"] == str(tmp_path / "theirs")
    assert main(["test", "--ckpt_path", theirs, "--data.flow.cache", str(tmp_path / "mine"), *TRAINER]) == 0
    assert tree(tmp_path / "mine")
