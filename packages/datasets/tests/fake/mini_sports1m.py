"""Mini-Sports1M, both selections."""

from __future__ import annotations

from pathlib import Path

from fake.clips import write_clip

CLASSES = ("boomerang", "ski jumping", "jōdō", "model aircraft")


def make(root: Path) -> None:
    """Write ``labels.txt``, AdaMML's lists of URLs with ``ID.mp4``, and BEAR's with ``SPLIT/CLASS/NUMBER.mp4``."""
    root.mkdir(exist_ok=True)
    (root / "labels.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    for split, count in (("train", 2), ("test", 1)):
        addresses, paths = [], []
        for index in range(len(CLASSES)):
            for number in range(count):
                video = f"-{split:_<5}{index:02d}{number:02d}x"
                write_clip(root / f"{video}.mp4", index)
                addresses.append(f"https://www.youtube.com/watch?v={video} {index}{',3' if index == 1 else ''}\n")
                write_clip(root / split / f"{index:03d}" / f"{10 * index + number:05d}.mp4", index)
                paths.append(f"{split}/{10 * index + number:05d} 250 {index}\n")
        (root / f"{split}_minisports1m.txt").write_text("".join(addresses))
        (root / f"{split}.csv").write_text("".join(paths))
