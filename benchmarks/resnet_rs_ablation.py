"""Ablation of the paper's changes, added step by step: 3D ResNet-RS-50 from scratch on small sets of real videos.

    python benchmarks/resnet_rs_ablation.py egogestar=FOLDER tennis7=FOLDER --runs DIR [--jobs 2]

FOLDER contains the set's `labels.csv`. Accuracy is that of the last epoch. Finished runs in DIR are not repeated.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainings import labels, percent, train

# Split column and options by data set.
SETS = {
    "egogestar": ("split", "--model.clip.segments 8 --data.augment.hflip 0 --trainer.max_epochs 40".split()),
    "tennis7": ("split_easy", "--model.clip.segments 8 --trainer.max_epochs 8".split()),
}
COMMON = (
    "--model resnet_rs --data csv --model.clip.frames 1 --model.clip.stride 1 --model.clip.size 48 "
    "--model.clip.short_side 54 --model.optim.name adamw --model.optim.lr 5.0e-4 --model.optim.weight_decay 0.05 "
    "--trainer.precision bf16-mixed --trainer.check_val_every_n_epoch 4"
).split()
BASELINE = {
    "--model.stem": "v0",
    "--model.se_ratio": "0",
    "--model.gating": "none",
    "--model.label_smoothing": "0",
    "--model.dropout": "0",
    "--model.stochastic_depth": "0",
    "--data.augment.scale": "[0.49,1.0]",
    "--model.optim.ema": "0",
}
STEPS: dict[str, dict[str, str]] = {
    "baseline": {},
    "+ regularisation": {
        "--model.label_smoothing": "0.1",
        "--model.dropout": "0.5",
        "--model.stochastic_depth": "0.1",
        "--data.augment.scale": "[0.3,1.0]",
        "--data.augment.ratio": "[0.5,2.0]",
    },
    "+ EMA": {"--model.optim.ema": "0.98"},
    "+ stem and SE": {"--model.stem": "v1", "--model.se_ratio": "0.25", "--model.gating": "last"},
}
"""Each step adds its options to those of the previous steps."""


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=FOLDER", help=f"NAME of {', '.join(SETS)}")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    print("| set | split | chance | step | top-1 after the last epoch | GMACs | minutes a run |")
    print("|" + " --- |" * 7)
    for given in arguments.sets:
        name, _, folder = given.partition("=")
        split, options = SETS[name]
        data = ("--data.path", f"{folder}/labels.csv", "--data.split_column", split)
        chance = 1 / len({row["label"] for row in labels(folder)})
        switches = dict(BASELINE)
        for number, (step, changes) in enumerate(STEPS.items()):
            switches |= changes
            given_switches = [part for option in switches.items() for part in option]
            run = functools.partial(train, arguments=[*COMMON, *options, *data, *given_switches])
            places = [arguments.runs / f"{name}-{number}-{seed}" for seed in range(arguments.seeds)]
            with ThreadPoolExecutor(arguments.jobs) as pool:
                results = list(pool.map(run, places, range(arguments.seeds)))
            top1 = percent([result["top1"] for result in results])
            print(
                f"| {name} | {split} | {100 * chance:.1f} % | {step} | {top1} "
                f"| {results[0]['gmacs']:.3f} | {statistics.mean(result['minutes'] for result in results):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
