"""Print the size of the core, in lines that are neither blank nor comments; docstrings count.

python integration_tests/sizes.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

CORE = Path(__file__).parents[1] / "packages/core/src/vidcore"


def lines_of(path: Path) -> int:
    """Count the lines of a file that are neither blank nor comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


def sizes() -> Counter[str]:
    """Count the lines of each folder of the core; its contract files are those at its top, named ``contracts``."""
    found: Counter[str] = Counter()
    for path in CORE.rglob("*.py"):
        parts = path.relative_to(CORE).parts
        found[parts[0] if len(parts) > 1 else "contracts"] += lines_of(path)
    return found


if __name__ == "__main__":
    for name, count in sizes().most_common():
        print(f"{name:12} {count:6}")
    print(f"{'total':12} {sizes().total():6}")
