"""AdaFocus and baselines on digits that are legible only in the window, and on real videos.

    pip install ./benchmarks/plugin[lite0]
    python benchmarks/adafocus_windows.py digits tennis7=FOLDER --runs DIR [--jobs 2]

Each row is one `vid fit` per seed, and one `vid test` if there is a test split: learnt windows of V1 and V2, random and
central windows and windows around the centre, the glance network alone, and the focus network on all full frames. The
authors start from backbones pre-trained on ImageNet; these start from EfficientNet-Lite0's ImageNet weights, or from
backbones pre-trained on digits that fill the frame (a separate set, rendered and trained on first; the glance network
at its input size). The glance network sees a digit of 24 pixels in height at 3 pixels: it can locate it, but hardly
recognise it. Finished runs in DIR are not repeated; failed runs are reported and omitted. Top-1 is measured after the
last epoch, on `test` if it exists, otherwise on `val`. A window hits if it contains the glyph's centre. FOLDER contains
the set's `labels.csv`.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from trainings import last, percent, train
from vidcore_benchmarks import WEIGHTS

from vidcore.batch import Batch
from vidcore.module import load_module
from vidcore_datasets.moving_digits import MovingDigits

WINDOWS = ("learnt", "random", "centre", "gaussian")


@dataclass(frozen=True)
class Setting:
    """A data set and its networks.

    Args:
        clip: Options of the clip, for all models.
        data: Options of the data.
        glance: Backbone that sees whole frames, ``glance_size``² of them.
        focus: Backbone that sees windows of ``patch``².
        average: Further options of the networks to compare with, which see whole frames.
        v1: Of V1.
        v2: Of V2.
    """

    clip: str
    data: str
    glance: str
    glance_size: int
    focus: str
    patch: int
    average: str
    v1: str
    v2: str


DIGITS = {"frame_size": 96, "glyph_size": 24, "num_frames": 2, "segments": 2, "off_centre": True}
LARGE = {"frame_size": 48, "glyph_size": 24, "num_frames": 2, "segments": 2, "seed": 1}
"""Data set on which the backbones for digits are pre-trained."""


def options_of(digits: Mapping[str, object]) -> str:
    """Format as command line options."""
    return " ".join(
        ["--data moving_digits", *(f"--data.{name} {str(value).lower()}" for name, value in digits.items())]
    )


SETTINGS = {
    "digits": Setting(
        clip="--model.clip.segments 2 --model.clip.size 96 --model.clip.short_side 96",
        data=f"--data.batch_size 32 {options_of(DIGITS)}",
        glance="tiny_cnn",
        glance_size=12,
        focus="small_cnn",
        patch=44,
        average="--model.optim.lr 2e-3 --trainer.max_epochs 20",
        v1="--model.policy_width 128 --model.head_width 256 --model.dropout 0.2 --model.stages.backbones 0 "
        "--model.stages.windows 6 --model.stages.policy 20 --model.stages.finetuning 10 --model.stages.windows_lr 2e-3 "
        "--model.stages.finetuning_lr 1e-3 --model.stages.policy_lr 2e-3 --model.stages.focus 1.0 "
        "--model.reinforce.epochs 3 --trainer.max_epochs 36",
        v2="--model.policy_width 128 --model.head_width 256 --model.rates.glance 1.0 --model.rates.policy 1.0 "
        "--model.rates.head 1.0 --model.optim.lr 2e-3 --trainer.gradient_clip_val 1.0 --trainer.max_epochs 25",
    ),
    "tennis7": Setting(
        clip="--model.clip.segments 4 --model.clip.size 224 --model.clip.short_side 224 "
        "--model.clip.mean [0.5,0.5,0.5] --model.clip.std [0.5,0.5,0.5]",
        data="--data csv --data.batch_size 8 --data.augment.scale [0.5,1.0] --data.augment.hflip 0.5",
        glance="efficientnet_lite0",
        glance_size=64,
        focus="efficientnet_lite0",
        patch=96,
        average="--model.optim.lr 3e-4 --trainer.max_epochs 5",
        v1="--model.policy_width 256 --model.head_width 256 --model.dropout 0.5 --model.stages.backbones 0 "
        "--model.stages.windows 2 --model.stages.policy 2 --model.stages.finetuning 1 --model.stages.windows_lr 1e-3 "
        "--model.stages.finetuning_lr 3e-4 --model.stages.focus 0.3 --model.reinforce.epochs 3 --trainer.max_epochs 5",
        v2="--model.policy_width 256 --model.head_width 512 --model.rates.glance 1.0 --model.rates.policy 1.0 "
        "--model.rates.head 3.0 --model.optim.lr 3e-4 --trainer.gradient_clip_val 1.0 --trainer.max_epochs 5",
    ),
}


def rows(setting: Setting) -> dict[str, str]:
    """Return the model's options for each row of the table."""
    average = f"--model frame_average {setting.average}"
    found = {
        "full frames": f"{average} --model.backbone {setting.focus}",
        "glance network alone": f"{average} --model.backbone {setting.glance} --model.size {setting.glance_size}",
    }
    networks = (
        f"--model adafocus --model.glance {setting.glance} --model.focus {setting.focus} --model.patch {setting.patch} "
        f"--model.glance_size {setting.glance_size} --model.optim.name adamw"
    )
    for variant, windows in itertools.product(("v1", "v2"), WINDOWS):
        options = f"--model.variant {variant} --model.windows {windows} {getattr(setting, variant)}"
        found[f"{variant.upper()}, {windows} windows"] = f"{networks} {options}"
    return found


def pretrain(setting: Setting, runs: Path, accelerator: str) -> None:
    """Save the weights of the backbones for digits where the plugin loads them."""
    for backbone, size in ((setting.focus, ""), (setting.glance, f"--model.size {setting.glance_size}")):
        options = f"--model frame_average --model.backbone {backbone} {size} {setting.average} {options_of(LARGE)}"
        clip = "--model.clip.segments 2 --model.clip.size 48 --model.clip.short_side 48 --data.batch_size 32"
        place = runs / f"pretrained-{backbone}"
        train(place, 0, [*options.split(), *clip.split()], test=False, accelerator=accelerator)
        WEIGHTS.mkdir(parents=True, exist_ok=True)
        save_file(load_module(last(place)).backbone.state_dict(), WEIGHTS / f"{backbone}.safetensors")  # type: ignore[union-attr]


def run(row: str, seed: int, name: str, setting: Setting, runs: Path, accelerator: str) -> dict[str, float]:
    """Train and test once; ``hits``: share of windows that hit the glyph, if known. Empty if it failed."""
    parts = ["--data.num_workers 1", setting.data, rows(setting)[row], setting.clip, "--model.pretrained true"]
    options = " ".join(parts).split()
    place = runs / f"{name}-{row.replace(', ', '-').replace(' ', '_')}-{seed}"
    try:
        options += ["--trainer.check_val_every_n_epoch", "5"]
        result = train(place, seed, options, test=name == "digits", accelerator=accelerator)
    except subprocess.CalledProcessError:
        print(f"{place} failed, see its logs", file=sys.stderr)
        return {}
    if name != "digits":  # no test split
        result |= {"test_top1": result["top1"], "gmacs": load_module(last(place)).macs_per_clip() / 1e9}
    elif row.endswith("windows"):
        result["hits"] = hits(last(place), accelerator)
    return result


@torch.no_grad()
def hits(checkpoint: Path, accelerator: str) -> float:
    """Return the share of test windows that contain the glyph's centre."""
    device = "cuda" if accelerator == "gpu" else "cpu"
    torch.manual_seed(0)  # for randomly placed windows
    module = load_module(checkpoint).to(device)
    data = MovingDigits(detection=True, batch_size=20, num_workers=0, **DIGITS)  # type: ignore[arg-type]
    data.clip_spec = module.clip_spec
    inside = []
    for batch in data.test_dataloader():
        moved = module.normalised(Batch(inputs={"rgb": batch["inputs"]["rgb"].to(device)}, ids=batch["ids"]))
        for windows, target in zip(module(moved).trace["windows"].cpu(), batch["target"], strict=True):
            centres = (target["boxes"][:, :2] + target["boxes"][:, 2:]) / 2
            window = windows[target["frames"]]
            inside.append(((window[:, :2] <= centres) & (centres <= window[:, 2:])).all(1).float())
    return float(torch.cat(inside).mean())


def table(name: str, setting: Setting, seeds: int, jobs: int, runs: Path, accelerator: str) -> str:
    """Format a Markdown table."""
    found = rows(setting)
    one = partial(run, name=name, setting=setting, runs=runs, accelerator=accelerator)
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda pair: one(*pair), itertools.product(found, range(seeds))))
    lines = ["| set | row | top-1 | windows on the glyph | GMACs | of full frames | minutes a run |"]
    lines.append("|" + " --- |" * 7)
    full = next((result["gmacs"] for result in results[:seeds] if result), float("nan"))
    for number, row in enumerate(found):
        mine = [result for result in results[number * seeds : (number + 1) * seeds] if result]
        if not mine:
            continue
        on_glyph = percent([result["hits"] for result in mine]) if "hits" in mine[0] else ""
        lines.append(
            f"| {name} | {row} | {percent([result['test_top1'] for result in mine])} | {on_glyph} "
            f"| {mine[0]['gmacs']:.3f} | {mine[0]['gmacs'] / full:.2f} "
            f"| {statistics.mean(result['minutes'] for result in mine):.1f} |"
        )
    return "\n".join(lines)


def settings(given: Sequence[str]) -> dict[str, Setting]:
    """Return the data sets by name and split; both splits of `tennis7`."""
    found = {}
    for argument in given:
        name, _, folder = argument.partition("=")
        for split in ("split", "split_easy") if folder else ("",):
            setting = SETTINGS[name]
            if split:
                options = f"{setting.data} --data.path {folder}/labels.csv --data.split_column {split}"
                setting = replace(setting, data=options)
            found[f"{name}-{split}" if split else name] = setting
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME[=FOLDER]", help=f"NAME of {', '.join(SETTINGS)}")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--accelerator", default="cpu", choices=("cpu", "gpu"))
    arguments = parser.parse_args()
    if "digits" in arguments.sets:
        MovingDigits(**DIGITS).prepare_data()  # type: ignore[arg-type]
        pretrain(SETTINGS["digits"], arguments.runs, arguments.accelerator)
    for name, setting in settings(arguments.sets).items():
        print(table(name, setting, arguments.seeds, arguments.jobs, arguments.runs, arguments.accelerator), flush=True)
        print()


if __name__ == "__main__":
    main()
