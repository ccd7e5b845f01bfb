"""Says of `dvc exp run -S`, before Hydra does so in its own words, what conf/ lacks, and what is meant by it here.

DVC loads this through hydra.plugins_path.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def find_problem(arguments: Sequence[str], conf: Path) -> str | None:
    """What `stages.compose` would answer to the first override that cannot be right; None where there is none."""
    from hydra.errors import HydraException  # slow to import, like all below

    from refrain.pipeline import old_names, params

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-S", "--set-param", action="append", default=[])
    given = parser.parse_known_args(arguments)[0].set_param
    overrides = [override for override in given if ":" not in override.partition("=")[0]]  # else of another file
    try:
        return params.suggest_override([old_names.rename_override(override) for override in overrides], conf)
    except ValueError as error:
        return str(error)
    except HydraException:  # Hydra says it itself
        return None


def main() -> None:
    root = Path(__file__).resolve().parents[3]
    sys.path.append(str(root))  # dvc may be installed elsewhere
    if problem := find_problem(sys.argv[1:], root / "conf"):
        raise SystemExit(f"ERROR: {problem}")


if Path(sys.argv[0]).stem in ("dvc", "__main__"):
    main()
