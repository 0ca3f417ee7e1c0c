"""Log the report of a run to W&B."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcore.metrics import MAIN_METRIC
from vidcore.report.figures import LEGIBLE
from vidcore.report.summary import Summary

if TYPE_CHECKING:
    from wandb import Run


def log_report(run: Run, summary: Summary, folder: Path) -> None:
    """Log the FLOPs table, accuracy against GMACs, the confusion matrix, figures and rendered examples.

    Args:
        run: W&B run.
        summary: Summary of the run.
        folder: Folder with the figures and examples written by ``vidcore.report.page.write``.
    """
    import wandb

    split = summary.split
    logged: dict[str, Any] = {}
    rows = [[part.name, part.parameters, part.gmacs, part.runs, part.gmacs * part.runs] for part in summary.components]
    run.summary.update({"parameters": summary.parameters})
    logged["flops"] = wandb.Table(["component", "parameters", "GMACs per run", "runs per clip", "GMACs per clip"], rows)
    if summary.point is not None:
        metric = MAIN_METRIC[summary.task.kind]
        table = wandb.Table(["GMACs", metric], [list(summary.point)])
        logged[f"{split}/accuracy_gmacs"] = wandb.plot.scatter(table, "GMACs", metric, f"{metric} against GMACs")
        run.summary.update({f"{split}/gmacs": summary.point[0]})
    few = summary.task.kind == "single_label" and summary.task.num_classes <= LEGIBLE
    if few and summary.scores is not None and summary.targets is not None:
        logged[f"{split}/confusion"] = wandb.plot.confusion_matrix(
            y_true=summary.targets.tolist(),
            preds=summary.scores.argmax(-1).tolist(),
            class_names=list(summary.task.classes),
            title=f"confusion, {split}",
        )
    for path in sorted(folder.glob("*.png")):
        if not path.stem.startswith("example_"):
            logged[f"figures/{path.stem}"] = wandb.Image(str(path))
    videos = [
        wandb.Video(
            str(folder / f"example_{number}.mp4"),
            caption=f"{example.predicted}; true: {example.true}; {example.gmacs:.4g} GMACs",
        )
        for number, example in enumerate(summary.examples, start=1)
    ]
    if videos:
        logged[f"{split}/examples"] = videos
    run.log(logged)
