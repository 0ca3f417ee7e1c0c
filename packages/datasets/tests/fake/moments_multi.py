"""Multi-Moments in Time."""

from __future__ import annotations

from pathlib import Path

from fake.clips import write_clip

CATEGORIES = "crafting,0\npaying,2\nadult+female+singing,1\n"
LISTS = {
    "trainingSet": (
        ("adult+female+singing/0-3-6-2-9-1-2-6-14603629126_5.mp4", (1, 0)),
        ("crafting/yt-zxQfALnTdfc_56.mp4", (0,)),
        ("paying/flickr-1.mp4", (2,)),
    ),
    "validationSet": (("paying/getty-7.mp4", (2, 0)), ("crafting/vine-8.mp4", (0, 1))),
}


def make(root: Path, ending: str = ".txt") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "moments_categories.txt").write_text(CATEGORIES)
    for name, videos in LISTS.items():
        (root / f"{name}{ending}").write_text("".join(f"{path},{','.join(map(str, k))}\n" for path, k in videos))
        for path, labels in videos:
            write_clip(root / "videos" / path, labels[0])
