"""Diving48, both versions."""

from __future__ import annotations

import json
from pathlib import Path

from fake.clips import write_clip

VOCABULARY = (
    ("Back", "15som", "05Twis", "FREE"),
    ("Back", "15som", "15Twis", "FREE"),
    ("Forward", "25som", "NoTwis", "PIKE"),
    ("Inward", "35som", "NoTwis", "TUCK"),
)


def make(root: Path) -> None:
    """Write ``rgb/ID_00000.mp4``, the vocabulary and the lists; version 1 labels every dive as class 0."""
    root.mkdir(exist_ok=True)
    (root / "Diving48_vocab.json").write_text(json.dumps(VOCABULARY))
    for split, count in (("train", 2), ("test", 1)):
        rows = []
        for index in range(len(VOCABULARY)):
            for number in range(count):
                name = f"_8Vy3dlHg2{split[1]}_{index:03d}{number:02d}"
                write_clip(root / "rgb" / f"{name}.mp4", index)
                rows.append({"vid_name": name, "label": index, "start_frame": 0, "end_frame": 8})
        (root / f"Diving48_V2_{split}.json").write_text(json.dumps(rows))
        (root / f"Diving48_{split}.json").write_text(json.dumps([{**row, "label": 0} for row in rows]))
