"""Unlabelled videos for prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidcore.errors import UserError
from vidcore.files import VIDEO_ENDINGS, expand_paths
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotated import Annotated
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.text import read_lines


def read_video_list(path: str | Path) -> list[Sample]:
    """List the videos in a text file, below a folder, or matching a glob pattern.

    Args:
        path: Text file (UTF-8) with one video, folder or pattern per line, relative to the file's folder; blank lines
            and lines that start with ``#`` are skipped. Or directly a video, a folder or a pattern.

    Returns:
        Unlabelled samples in that order, without duplicates; a sample's id is its path.

    Raises:
        UserError: A line matches no video, or the list is empty.
    """
    file = Path(path)
    if not file.is_file() or file.suffix.lower() in VIDEO_ENDINGS:
        return [Sample(video) for video in expand_paths([str(path)])]
    lines = [(number, line) for number, line in read_lines(file, "surrogateescape") if not line.startswith("#")]
    if not lines:
        raise UserError(f"{file} lists no videos: expected one path per line")
    videos: dict[str, None] = {}
    for number, line in lines:
        try:
            videos |= dict.fromkeys(expand_paths([str(file.parent / line)]))
        except UserError as error:
            raise UserError(f"{file}, line {number}: {error}") from error
    return [Sample(video) for video in videos]


class VideoList(Annotated):
    """Unlabelled videos for prediction, see [`read_video_list`][vidcore_datasets.video_list.read_video_list].

    ``Trainer.predict(model, VideoList("videos.txt"))`` returns the rows of each batch. ``vid predict`` reads files,
    folders and patterns itself, writes rows as it goes, and resumes where it stopped.

    Args:
        path: Text file with one path per line, or a video, a folder or a glob pattern.
        **kwargs: Passed to [`VideoDataModule`][vidcore.datamodule.VideoDataModule].
    """

    task = Task("single_label", ("video",))

    def __init__(self, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path

    def read(self) -> Annotations:
        """Read the videos as the ``predict`` split, the only split."""
        return Annotations(self.task, {"predict": read_video_list(self.path)})
