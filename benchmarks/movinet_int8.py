"""Top-1, time and size of an exported MoViNet step in float32 and int8, on the validation clips of a set.

    python benchmarks/movinet_int8.py SET/labels.csv CHECKPOINT…

The checkpoints are stream networks trained on the `split` column of that set. Ranges are calibrated on 32 training
clips; the frames of each clip then pass through the step one by one, and the last logits are used. Prints a Markdown
table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from trainings import labels, percent

from vidcore.module import load_module
from vidcore_deploy.clips import read_batch
from vidcore_deploy.step import StepEngine, export_step

CALIBRATION, THREADS = 32, 2


def accuracy(engine: StepEngine, clips: list[tuple[str, str]]) -> tuple[float, float]:
    """Return top-1 on the clips (path, label), and milliseconds per frame."""
    right, frames, seconds = 0, 0, 0.0
    for path, label in clips:
        clip = read_batch([path], engine.clip_spec, 1)["inputs"]["rgb"]
        state = engine.init_state(1, (clip.shape[3], clip.shape[4]))
        begin = time.perf_counter()
        for number in range(clip.shape[2]):
            output, state = engine.step(clip[:, :, number : number + 1].contiguous(), state)
        seconds += time.perf_counter() - begin
        frames += clip.shape[2]
        assert output.logits is not None
        right += engine.task.classes[int(output.logits.argmax())] == label
    return right / len(clips), 1000 * seconds / frames


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("checkpoints", nargs="+")
    arguments = parser.parse_args()
    folder = arguments.labels.parent
    rows = labels(str(folder))
    train = [str(folder / row["path"]) for row in rows if row["split"] == "train"]
    val = [(str(folder / row["path"]), row["label"]) for row in rows if row["split"] == "val"]
    print("| step | top-1 | ms a frame | MB |\n| --- | --- | --- | --- |")
    for name, int8 in (("float32", False), ("int8", True)):
        found, times = [], []
        with tempfile.TemporaryDirectory() as place:
            for checkpoint in arguments.checkpoints:
                path = Path(place) / "step.onnx"
                export_step(load_module(checkpoint), path, train[:: len(train) // CALIBRATION], int8)
                top1, ms = accuracy(StepEngine(path, THREADS), val)
                found.append(top1)
                times.append(ms)
            print(f"| {name} | {percent(found)} | {min(times):.2f} | {path.stat().st_size / 1e6:.1f} |")


if __name__ == "__main__":
    main()
