"""Data sets for vidcore, one file each: annotations to samples."""

from vidcore_datasets.annotations import Annotations
from vidcore_datasets.csv import Csv, read_csv
from vidcore_datasets.folder import Folder, read_folder
from vidcore_datasets.moving_digits import MovingDigits, make_moving_digits, read_moving_digits
from vidcore_datasets.render_digits import DigitClip, DigitOptions, draw_clip

__all__ = [
    "Annotations",
    "Csv",
    "DigitClip",
    "DigitOptions",
    "Folder",
    "MovingDigits",
    "draw_clip",
    "make_moving_digits",
    "read_csv",
    "read_folder",
    "read_moving_digits",
]
