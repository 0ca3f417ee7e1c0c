"""ImageNet VID and DET."""

from __future__ import annotations

from pathlib import Path

from fake.clips import write_frames

CAR, DOG, PERSON = "n02958343", "n02084071", "n00007846"
STILL = "train/ILSVRC2013_train/n02958343/n02958343_7"
VIDEOS = {
    "train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000": 20,
    "train/ILSVRC2015_VID_train_0003/ILSVRC2015_train_01151000": 4,
    "val/ILSVRC2015_val_00000001": 6,
    "val/ILSVRC2015_val_00000000": 6,
}


def xml(objects) -> str:
    """Return an annotation in the official format; ``objects``: synset, track or None, xmin, ymin, xmax, ymax."""
    parts = []
    for synset, track, xmin, ymin, xmax, ymax in objects:
        tracked = "" if track is None else f"<trackid>{track}</trackid>"
        box = f"<xmax>{xmax}</xmax><xmin>{xmin}</xmin><ymax>{ymax}</ymax><ymin>{ymin}</ymin>"
        parts.append(
            f"<object>{tracked}<name>{synset}</name><bndbox>{box}</bndbox>"
            "<occluded>0</occluded><generated>0</generated></object>"
        )
    size = "<size><width>32</width><height>24</height></size>"
    return f"<annotation><folder>f</folder><filename>000000</filename>{size}{''.join(parts)}</annotation>"


def objects(frame: int):
    """A car that moves one pixel per frame, and from frame 2 on a static dog."""
    return [(CAR, 0, frame, 2, frame + 9, 11), *([(DOG, 1, 4, 12, 13, 21)] if frame >= 2 else [])]


def make(root: Path) -> None:
    for name, length in VIDEOS.items():
        folder = root / "Annotations/VID" / name
        folder.mkdir(parents=True)
        for frame in range(length):
            (folder / f"{frame:06d}.xml").write_text(xml(objects(frame)))
        write_frames(root / "Data/VID" / name, length, length, name="{:06d}.JPEG", first=0)
    still = root / f"Annotations/DET/{STILL}.xml"
    still.parent.mkdir(parents=True)
    still.write_text(xml([(CAR, None, 0, 0, 15, 11), (PERSON, None, 3, 3, 9, 9), (CAR, None, 16, 12, 31, 23)]))
    write_frames((root / f"Data/DET/{STILL}").parent, 0, 1, name=f"{Path(STILL).name}.JPEG")
    lists = root / "ImageSets"
    lists.mkdir()
    one, other = list(VIDEOS)[:2]
    lines = [f"{one} 1 {frame} 20" for frame in (3, 16)] + [f"{other} 1 {frame} 4" for frame in range(4)]
    (lists / "VID_train_15frames.txt").write_text("\n".join(lines) + "\n")
    (lists / "DET_train_30classes.txt").write_text(f"{STILL} 1")
