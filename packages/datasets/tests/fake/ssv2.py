"""Something-Something V2 in Qualcomm's and TwentyBN's layout."""

from __future__ import annotations

import json
from pathlib import Path

from fake.clips import write_clip

LABELS = {
    "Putting something on a surface": "1",
    "Approaching something with your camera": "0",
    "Hitting it, twice": "2",
}
CLASSES = ("Approaching something with your camera", "Putting something on a surface", "Hitting it, twice")
TRAIN = (
    ("78687", "Putting [something] on a surface", 1),
    ("42326", "Approaching [something] with your camera", 0),
    ("100904", "Hitting it, twice", 2),
)
VAL = (("74225", "Approaching [something] with your camera", 0), ("18", "Putting [something] on a surface", 1))
ANSWERS = (("1420", "Putting something on a surface", 1),)


def make(root: Path, prefix: str = "") -> None:
    labels = root / "labels"
    labels.mkdir(parents=True)
    (labels / f"{prefix}labels.json").write_text(json.dumps(LABELS))
    for name, videos in (("train", TRAIN), ("validation", VAL)):
        entries = [
            {"id": video, "label": "holding potato", "template": template, "placeholders": ["potato"]}
            for video, template, _ in videos
        ]
        (labels / f"{prefix}{name}.json").write_text(json.dumps(entries))
    (labels / f"{prefix}test.json").write_text(json.dumps([{"id": video} for video, *_ in ANSWERS]))
    (labels / f"{prefix}test-answers.csv").write_text("\n".join(f"{video};{name}" for video, name, _ in ANSWERS))
    for video, _, label in (*TRAIN, *VAL, *ANSWERS):
        write_clip(root / f"20bn-something-something-v2/{video}.webm", label)
