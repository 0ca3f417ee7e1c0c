"""ActivityNet v1.3."""

from __future__ import annotations

import json
from pathlib import Path

from fake.clips import write_clip

LEAVES = ("Zumba", "Applying sunscreen", "Ballet")
DATABASE = {
    "---9CpRcKoU": ("training", [("Ballet", 0, 0.25), ("Ballet", 0.5, 1), ("Zumba", 0.125, 0.75)]),
    "--0edUL8zmA": ("training", [("Applying sunscreen", 0, 0.25), ("Ballet", 0, 0)]),
    "QOlSCBRmfWY": ("validation", [("Zumba", 0.1, 0.4)]),
    "_fewvalidation": ("validation", [("Applying sunscreen", 0, 0.5)]),
    "vQvQsnCBrUo": ("testing", []),
}


def make(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    parents = {"Root": None, "Personal Care": "Root", "Applying sunscreen": "Personal Care", "Sports": "Root"}
    parents |= {"Dancing": "Sports", "Zumba": "Dancing", "Ballet": "Dancing"}
    ids = {name: number for number, name in enumerate(parents)}
    taxonomy = [
        {"nodeName": name, "nodeId": ids[name], "parentName": parent, "parentId": ids.get(parent)}
        for name, parent in parents.items()
    ]
    database = {}
    for name, (subset, segments) in DATABASE.items():
        annotations = [{"label": label, "segment": [start, end]} for label, start, end in segments]
        database[name] = {
            "subset": subset,
            "duration": 0.5,
            "resolution": "320x240",
            "url": "",
            "annotations": annotations,
        }
        ending = ".mkv" if name.startswith("Q") else ".mp4"
        if segments:
            write_clip(root / "v1-3/train_val" / f"v_{name}{ending}", len(segments[0][0]))
    content = {"taxonomy": taxonomy, "version": "VERSION 1.3", "database": database}
    (root / "activity_net.v1-3.min.json").write_text(json.dumps(content))
