"""Videos without labels, to predict on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidcore.dataset import Sample
from vidcore.errors import UserError
from vidcore.files import VIDEO_ENDINGS, expand_paths
from vidcore.task import Task
from vidcore_datasets.annotated import Annotated
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.text import read_lines


def read_video_list(path: str | Path) -> list[Sample]:
    """The videos that a text file lists, or that lie below a folder, or that a glob pattern matches.

    Args:
        path: A text file (UTF-8) with a video, folder or pattern a line, relative to the file's own folder, blank lines
            and those that start with ``#`` left out; or, directly, a video, a folder or a pattern.

    Returns:
        Unlabelled samples in that order, none twice; a sample's id is its path.

    Raises:
        UserError: A line that stands for no video, or a list without any.
    """
    file = Path(path)
    if not file.is_file() or file.suffix.lower() in VIDEO_ENDINGS:
        return [Sample(video) for video in expand_paths([str(path)])]
    lines = [(number, line) for number, line in read_lines(file, "surrogateescape") if not line.startswith("#")]
    if not lines:
        raise UserError(f"{file} lists no videos: expected one path a line")
    videos: dict[str, None] = {}
    for number, line in lines:
        try:
            videos |= dict.fromkeys(expand_paths([str(file.parent / line)]))
        except UserError as error:
            raise UserError(f"{file}, line {number}: {error}") from error
    return [Sample(video) for video in videos]


class VideoList(Annotated):
    """Videos without labels, to predict on: a list, a folder or a pattern, see :func:`read_video_list`.

    ``Trainer.predict(model, VideoList("videos.txt"))`` gives the rows of each batch. ``vid predict`` takes files,
    folders and patterns by themselves, writes rows as it goes, and goes on where it stopped.

    Args:
        path: A text file with a path a line, or a video, a folder or a glob pattern.
        **kwargs: See :class:`~vidcore.datamodule.VideoDataModule`.
    """

    task = Task("single_label", ("video",))

    def __init__(self, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path

    def read(self) -> Annotations:
        """The videos, as the ``predict`` split; there are no others."""
        return Annotations(self.task, {"predict": read_video_list(self.path)})
