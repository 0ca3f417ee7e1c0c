"""MoViNet-A0, base and stream, from scratch on small sets of real videos: top-1, chance and split, over seeds.

    python benchmarks/real_videos.py egogestar=FOLDER tennis7=FOLDER --runs DIR [--jobs 2]

FOLDER contains the set's `labels.csv`. Accuracy is that of the last epoch, not the best: the sets have no test split,
and the best epoch on the evaluated clips would be biased. Finished runs in DIR are not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from trainings import labels, percent, train

# Split columns and options by data set.
SETS = {
    "egogestar": (
        ("split",),
        "--data.augment.hflip 0 --trainer.max_epochs 100".split(),
    ),
    "tennis7": (
        ("split", "split_easy"),
        "--data.augment.hflip 0.5 --trainer.max_epochs 40".split(),
    ),
}
COMMON = (
    "--model movinet --model.clip.segments 8 --model.clip.frames 1 --model.clip.stride 1 --model.clip.size 64 "
    "--model.stochastic_depth 0 --model.dropout 0.2 --data csv --data.augment.scale [0.5,1.0] "
    "--trainer.check_val_every_n_epoch 10"
).split()


def run(name: str, folder: str, split: str, kind: str, seed: int, runs: Path) -> dict[str, float]:
    """Train and test once."""
    data = ("--data.path", f"{folder}/labels.csv", "--data.split_column", split)
    network = ("--model.stream", str(kind == "stream").lower())
    return train(runs / f"{name}-{split}-{kind}-{seed}", seed, [*COMMON, *SETS[name][1], *data, *network])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=FOLDER", help=f"NAME of {', '.join(SETS)}")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    lines = ["| set | split | classes | chance | clips in test | network | top-1 | GMACs | minutes a run |"]
    lines.append("|" + " --- |" * 9)
    for given in arguments.sets:
        name, _, folder = given.partition("=")
        for split, kind in itertools.product(SETS[name][0], ("base", "stream")):
            with ThreadPoolExecutor(arguments.jobs) as pool:
                one = partial(run, name, folder, split, kind, runs=arguments.runs)
                results = list(pool.map(one, range(arguments.seeds)))
            rows = labels(folder)
            classes = len({row["label"] for row in rows})
            tested = sum(row[split] in ("val", "test") for row in rows)
            lines.append(
                f"| {name} | {split} | {classes} | {100 / classes:.1f} % | {tested} | {kind} "
                f"| {percent([result['top1'] for result in results])} | {results[0]['gmacs']:.3f} "
                f"| {statistics.mean(result['minutes'] for result in results):.0f} |"
            )
            Console(width=160).print(Markdown("\n".join(lines)))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
