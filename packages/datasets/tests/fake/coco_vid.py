"""Custom detection data in COCO format."""

from __future__ import annotations

import json
from pathlib import Path

from fake.clips import write_clip, write_frames


def content(split: str) -> dict:
    """A folder of images of which every other is annotated, and a video file."""
    videos = [{"id": 1, "name": f"{split}_street", "fps": 25}, {"id": 2, "file_name": f"{split}_yard.mp4"}]
    images = [
        {"id": number, "video_id": 1, "frame_id": number, "file_name": f"frames/{split}_street/{2 * number:06d}.jpg"}
        for number in range(1, 4)
    ]
    images += [{"id": 10, "video_id": 2, "frame_id": 3}, {"id": 11, "video_id": 2, "frame_id": 0}]
    boxes = [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [2, 3, 10, 12.5], "track_id": 7},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [2, 3, 10, 12.5], "track_id": 7},
        {"id": 3, "image_id": 2, "category_id": 5, "bbox": [0, 0, 5, 5]},
        {"id": 4, "image_id": 3, "category_id": 5, "bbox": [0, 0, 5, 5]},
        {"id": 5, "image_id": 3, "category_id": 5, "bbox": [0, 0, 32, 24], "iscrowd": 1},
        {"id": 6, "image_id": 3, "category_id": 5, "bbox": [9, 9, 0, 4]},
        {"id": 7, "image_id": 10, "category_id": 2, "bbox": [8, 8, 8, 8], "instance_id": 3},
    ]
    categories = [{"id": 5, "name": "bicycle"}, {"id": 2, "name": "person"}]
    return {"info": {}, "categories": categories, "videos": videos, "images": images, "annotations": boxes}


def make(root: Path, splits=("train", "val", "test")) -> None:
    (root / "annotations").mkdir(parents=True)
    for split in splits:
        (root / f"annotations/{split}.json").write_text(json.dumps(content(split)))
        write_frames(root / f"frames/{split}_street", 0, name="{:06d}.jpg", count=7)
        write_clip(root / f"{split}_yard.mp4", 1)
