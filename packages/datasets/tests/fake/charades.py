"""Charades, videos or frames."""

from __future__ import annotations

from pathlib import Path

from fake.clips import write_clip, write_frames

CLASSES = "c000 Holding some clothes\nc001 Putting clothes somewhere\nc002 Taking/consuming some medicine\n"
HEADER = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
SPLITS = {
    "train": (
        ("46GP8", "c002 11.90 21.20;c000 0.00 12.60;c002 22.00 24.00", (0, 2)),
        ("N11GT", "c001 0.00 5.50", (1,)),
        ("0IH69", "", ()),
    ),
    "test": (
        ("YSKX3", "c000 12.10 18.00", (0,)),
        ("5P7BI", "", ()),
        ("EUVY0", "c001 0.00 2.00;c002 1.00 3.00", (1, 2)),
    ),
}


def make(root: Path, frames: bool = False) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "Charades_v1_classes.txt").write_text(CLASSES)
    for split, videos in SPLITS.items():
        rows = ""
        for video, actions, labels in videos:
            rows += f'{video},HR43,Kitchen,6,7,Yes,"A person, cooking.",food;stove,A person cooks.,{actions},24.83\n'
            if frames:
                write_frames(root / "Charades_v1_rgb" / video, sum(labels), name=f"{video}-{{:06d}}.jpg")
            else:
                write_clip(root / f"Charades_v1_480/{video}.mp4", sum(labels))
        (root / f"Charades_v1_{split}.csv").write_text(HEADER + rows)
