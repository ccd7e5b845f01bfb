"""How a stage starts, one process at a time, and the small reports that it leaves."""

import atexit
import fcntl
import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from refrain.pipeline import paths, recovery
from refrain.pipeline.params import check_names, load
from refrain.pipeline.schema import Config
from refrain.pipeline.stage_options import parse_arguments

IN_GROUP = "RANK"  # set in each of several processes of the same stage
REASON_FILE = "REFRAIN_REASON_FILE"  # set by whoever started the stage and says itself why it ended
INTERRUPTED = 130  # the exit code after Ctrl-C, as shells have it


def run_stage(main: Callable[[Config], None], *checks: Callable[[Config], None]) -> None:
    """Run a stage on params.yaml with the overrides of the command line, one process at a time.

    A check may look at values that the stage does not depend on, since it changes nothing of what the stage writes.
    """

    has_begun = False

    def stage(overrides: list[str]) -> None:
        nonlocal has_begun
        cfg = load(overrides)
        for check in checks:
            check(cfg)
        with exclusive_run():
            has_begun = True
            main(cfg)

    run_command(stage, sys.modules[main.__module__].__doc__ or "", lambda: has_begun, check_names)


@contextmanager
def exclusive_run() -> Iterator[None]:
    """Alone inside with this script: when only `dvc` is killed, its stage lives on, and the next one waits."""
    if IN_GROUP in os.environ:
        yield
        return
    with Path(sys.argv[0]).open() as script:
        try:
            fcntl.flock(script, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            import logging

            logging.getLogger(__name__).info("another process still runs this stage; waiting for it to end")
            fcntl.flock(script, fcntl.LOCK_EX)
        yield


def run_command(
    main: Callable[[list[str]], None],
    document: str,
    has_begun: Callable[[], bool] = lambda: False,
    check: Callable[[list[str]], None] = lambda overrides: None,
) -> None:
    """Parse the command line and run; a failure ends with its reason, what is intact, and the ways on and back.

    The exit code is 1, after an interruption 130. A ValueError or OSError is one line, any other error is a traceback.
    """
    name = Path(sys.argv[0]).stem
    options = parse_arguments(name, document)
    atexit.register(gc.freeze)  # of what is there when a stage ends, Python would search all for garbage
    try:
        check(options.overrides)  # what is refused for a name waits for nothing that logs
        start_log(options.quiet)
        main(options.overrides)
    except (ValueError, OSError) as error:
        end(name, 1, f"{name}: {error}", has_begun())
    except KeyboardInterrupt as error:
        end(name, INTERRUPTED, f"{name}: {str(error) or 'interrupted'}", has_begun())
    except SystemExit as error:  # of a worker that has said why, or with a sentence
        is_said = not isinstance(error.code, str)
        end(name, error.code if is_said else 1, "" if is_said else str(error.code), has_begun())
    except Exception:
        import traceback

        if IN_GROUP in os.environ:  # whoever started the processes says it once
            raise
        end(name, 1, traceback.format_exc().rstrip(), has_begun())


def start_log(quiet: bool) -> None:
    """Lines on stderr from here on: what is quiet says warnings and errors alone."""
    import logging

    from refrain.pipeline import progress

    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[progress.LineHandler()])
    logging.getLogger("refrain").setLevel(logging.WARNING if quiet else logging.INFO)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it asks for a package that runs code of the Hub


def end(name: str, code: str | int | None, reason: str, has_begun: bool) -> NoReturn:
    """Exit with the reason and, once for all processes of a stage, with the ways on and back."""
    is_last = bool(code) and IN_GROUP not in os.environ
    if is_last and (place := os.environ.get(REASON_FILE)):
        Path(place).write_text(reason, encoding="utf-8")
        sys.exit(code)
    if reason and is_last and paths.is_copy():
        file = paths.reason_file(paths.run_name())
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(reason + "\n", encoding="utf-8")
    ways = recovery.recovery_lines(name, has_begun, code == INTERRUPTED) if is_last else []
    if lines := [*filter(None, [reason]), *ways]:
        print("\n".join(lines), file=sys.stderr)
    sys.exit(code)


def write_report(path: Path, facts: Mapping[str, Any]) -> None:
    """A small JSON file: sorted keys, floats to six digits, the same bytes for the same facts."""
    import json

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
