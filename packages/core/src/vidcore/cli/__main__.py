"""``python -m vidcore.cli`` is ``vid``."""

import sys

from vidcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
