"""How a stage starts, one process at a time, and the small reports that it leaves."""

import argparse
import fcntl
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from refrain.pipeline.params import load
from refrain.pipeline.schema import Config

log = logging.getLogger(__name__)


def run_stage(main: Callable[[Config], None], *checks: Callable[[Config], None]) -> None:
    """Run a stage on params.yaml with the overrides of the command line, one process at a time.

    A check may look at values that the stage does not depend on, since it changes nothing of what the stage writes.
    """

    def stage(overrides: list[str]) -> None:
        cfg = load(overrides)
        for check in checks:
            check(cfg)
        with exclusive_run():
            main(cfg)

    run_command(stage, sys.modules[main.__module__].__doc__ or "")


@contextmanager
def exclusive_run() -> Iterator[None]:
    """Alone inside with this script: when only `dvc` is killed, its stage lives on, and the next one waits."""
    if "RANK" in os.environ:  # one of several processes of the same stage
        yield
        return
    with Path(sys.argv[0]).open() as script:
        try:
            fcntl.flock(script, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process still runs this stage; waiting for it to end")
            fcntl.flock(script, fcntl.LOCK_EX)
        yield


def run_command(main: Callable[[list[str]], None], document: str) -> None:
    """Parse the command line; a ValueError or OSError becomes one line and exit code 1, an interruption 130."""
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{Path(sys.argv[0]).stem}",
        description=document,
        epilog="Values come from params.yaml; any of them can be overridden: train.lr=1e-3 data.val_fraction=0.2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="a value in place of params.yaml's")
    parser.add_argument("--quiet", action="store_true", help="warnings and errors only")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("refrain").setLevel(logging.WARNING if options.quiet else logging.INFO)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it asks for a package that runs code of the Hub
    try:
        main(options.overrides)
    except (ValueError, OSError) as error:
        log.debug("where it happened", exc_info=True)
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")
    except KeyboardInterrupt as error:
        print(f"{Path(sys.argv[0]).stem}: {error or 'interrupted'}", file=sys.stderr)
        sys.exit(130)


def write_report(path: Path, facts: Mapping[str, Any]) -> None:
    """A small JSON file: sorted keys, floats to six digits, the same bytes for the same facts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(round_floats(facts), indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def round_floats(value: Any) -> Any:
    """The value with six digits to each float, in mappings at any depth."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: round_floats(item) for key, item in value.items()}
    return value
