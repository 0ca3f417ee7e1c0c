"""Effect of contrastive pre-training without labels on a linear probe of 3D ResNet-RS-50.

    python benchmarks/resnet_rs_contrastive.py FOLDER --runs DIR [--jobs 2]

FOLDER is a set of videos with its `labels.csv`; pre-training uses the videos only, the probe the labels of its training
split. A probe of a network with random weights is the baseline. Accuracy is that of the last epoch. Finished runs in
DIR are not repeated.
"""

from __future__ import annotations

import argparse
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainings import labels, last, percent, train

CLIP = (
    "--model.clip.frames 8 --model.clip.stride 4 --model.clip.size 48 --trainer.precision bf16-mixed "
    "--model.stem v0 --model.se_ratio 0 --model.gating none --trainer.check_val_every_n_epoch 4"
).split()
PRETRAIN = (
    "--model resnet_rs_cvrl --data unlabelled --model.optim.warmup 0.1 --data.augment.ratio [0.5,2.0] "
    "--data.batch_size 16 --trainer.max_epochs 12"
).split()
PROBE = (
    "--model resnet_rs --data csv --model.linear_probe true --model.dropout 0 --model.label_smoothing 0 "
    "--model.optim.name sgd --model.optim.lr 4 --model.optim.weight_decay 0 --model.optim.ema 0 "
    "--trainer.gradient_clip_val 1000 --trainer.max_epochs 16"
).split()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--split", default="split_easy", help="column with the split")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    data = ("--data.path", f"{arguments.folder}/labels.csv", "--data.split_column", arguments.split)

    def run(seed: int) -> tuple[dict[str, float], ...]:
        runs = arguments.runs
        pretraining = train(
            runs / f"pretrain-{seed}", seed, [*CLIP, *PRETRAIN, "--data.root", arguments.folder], test=False
        )
        weights = ("--model.weights", str(last(runs / f"pretrain-{seed}")))
        random = train(runs / f"random-{seed}", seed, [*CLIP, *PROBE, *data], test=False)
        return pretraining, random, train(runs / f"probe-{seed}", seed, [*CLIP, *PROBE, *data, *weights], test=False)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(run, range(arguments.seeds)))
    classes = len({row["label"] for row in labels(arguments.folder)})
    pretraining, random, probe = (
        (percent([result["top1"] for result in runs]), statistics.mean(result["minutes"] for result in runs))
        for runs in zip(*results, strict=True)
    )
    print("| weights | pairs found | probe's top-1 after the last epoch | minutes a run |")
    print("| --- | --- | --- | --- |")
    print(f"| chance | | {100 / classes:.1f} % | |")
    print(f"| random | | {random[0]} | {random[1]:.1f} |")
    print(f"| pre-trained | {pretraining[0]} | {probe[0]} | {pretraining[1]:.1f} + {probe[1]:.1f} |")


if __name__ == "__main__":
    main()
