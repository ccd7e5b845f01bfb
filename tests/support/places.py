"""Where the repository is that is being tested."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PLAIN_INSTALL = ROOT / "tests/support/plain_install"  # on PYTHONPATH: as if `refrain-lm[train]` alone were installed
