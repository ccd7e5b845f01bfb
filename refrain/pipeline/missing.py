"""What stands where conf/ must say a value."""

from typing import Any

MISSING: Any = "???"  # as in omegaconf, which what serves does without
