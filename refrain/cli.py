"""The `refrain` command: talk to an exported model, answer a file of prompts, measure, check, rebuild, show results."""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from refrain import manifest, paths
from refrain.options import add_terms, positive, terms


def main(argv: list[str] | None = None) -> int:
    """Run a command; what is wrong with the input is one sentence on stderr and exit code 1."""
    options = arguments().parse_args(argv)
    try:
        return int(options.run(options))
    except BrokenPipeError:  # the reader has left, as `head` does
        return 1
    except (ValueError, OSError) as error:
        print(f"refrain: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def arguments() -> argparse.ArgumentParser:
    """The command line, with options.py the one owner of its default values."""
    parser = argparse.ArgumentParser(prog="refrain", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for kind in (speaking, proving):
        kind(commands)
    return parser


def speaking(commands: Any) -> None:
    """The commands that use a model."""
    talk = commands.add_parser("chat", help="talk to an exported model", description=chat.__doc__)
    add_terms(talk)
    talk.add_argument(
        "--prompt", metavar="TEXT", help="answer this and exit; - takes a question from each line of stdin"
    )
    talk.set_defaults(run=chat)

    many = commands.add_parser("generate", help="answer a file of prompts", description=generate.__doc__)
    add_terms(many)
    add = many.add_argument
    add("--input", default="-", metavar="FILE", help="JSON lines with a prompt or messages; -, the default: stdin")
    add("--output", default="-", metavar="FILE", help="JSON lines with id and reply; -, the default: stdout")
    add("--batch", type=positive, default=8, metavar="N", help="replies that grow at once, default: %(default)s")
    add("--beams", type=positive, default=1, metavar="N", help="the likeliest reply as a whole, by a beam search")
    add("--logprobs", type=int, default=0, metavar="N", help="of each token, so many of the likeliest")
    add("--lookup", action="store_true", help="guess what was said before; for one reply at a time, see --batch")
    add("--quiet", action="store_true", help="no progress")
    many.set_defaults(run=generate)

    speed = commands.add_parser("bench", help="measure every variant", description=bench.__doc__)
    speed.add_argument("--rounds", type=positive, default=5, metavar="N", help="default: %(default)s")
    speed.add_argument("--threads", type=positive, metavar="N", help="default: as many as there are cores")
    speed.set_defaults(run=bench)


def proving(commands: Any) -> None:
    """The commands that say what a model is, and how it came about."""
    whole = commands.add_parser("check", help="compare a folder with its manifest", description=check.__doc__)
    whole.add_argument("folder", type=Path, metavar="FOLDER")
    whole.set_defaults(run=check)

    source = commands.add_parser("info", help="say where a folder comes from", description=info.__doc__)
    source.add_argument(
        "folder", type=Path, nargs="?", default=paths.ONNX, metavar="FOLDER", help="models/onnx if none"
    )
    source.set_defaults(run=info)

    again = commands.add_parser("verify", help="rebuild a commit and compare", description=verify.__doc__)
    again.add_argument("rev", nargs="?", default="HEAD", metavar="REV", help="commit or tag, default: %(default)s")
    again.add_argument("--folder", type=Path, metavar="FOLDER", help="rebuild in this folder, and keep it")
    again.set_defaults(run=verify)

    learned = commands.add_parser("audit", help="look at what is learned of each row", description=audit.__doc__)
    learned.set_defaults(run=audit)

    room = commands.add_parser("clean", help="remove checkpoints that nobody needs", description=clean.__doc__)
    room.set_defaults(run=clean)

    outcome = commands.add_parser("report", help="show the results of the last run", description=report.__doc__)
    outcome.add_argument("--samples", type=positive, default=3, metavar="N", help="questions, default: %(default)s")
    outcome.set_defaults(run=report)


def chat(options: argparse.Namespace) -> int:
    """Talk to an exported model. Piped questions, one a line, are each answered alone, one answer a line."""
    from refrain import terminal, voice  # --help should not wait for ONNX Runtime

    speaker = voice.opened(options.model, terms(options), options.threads)
    if options.prompt not in (None, "-"):
        for piece in terminal.answer(speaker, options.system, options.prompt):
            print(piece, end="", flush=True)
        print()
    elif options.prompt == "-" or not sys.stdin.isatty():
        for line in terminal.answers(speaker, options.system, sys.stdin):
            print(line, flush=True)
    else:
        terminal.converse(speaker, options.system)
    return 0


def generate(options: argparse.Namespace) -> int:
    """Answer every line of a file, several at once; results come in the order of the lines, each as if alone."""
    from refrain import generate as file
    from refrain import voice

    if options.beams > 1 and (options.lookup or options.logprobs):
        raise ValueError("--beams: a beam search has neither --lookup nor --logprobs; leave them out")
    wanted = terms(options, options.logprobs)
    speaker = voice.opened(options.model, wanted, options.threads, options.batch, options.lookup)
    with ExitStack() as files:
        lines = sys.stdin.buffer if options.input == "-" else files.enter_context(Path(options.input).open("rb"))
        out = (
            sys.stdout
            if options.output == "-"
            else files.enter_context(Path(options.output).open("w", encoding="utf-8"))
        )
        asked = file.questions(lines, "stdin" if options.input == "-" else options.input, options.system)
        said = file.beamed(speaker, asked, options.beams) if options.beams > 1 else file.replies(speaker, asked)
        for result in file.shown(said, options.quiet):
            print(file.line(result), file=out, flush=True)
    return 0


def bench(options: argparse.Namespace) -> int:
    """Measure the speed of every variant in models/onnx on this machine; reports/variants.md keeps table and plot."""
    from refrain import bench as speed
    from refrain import variants

    folders = [paths.ONNX / name for name in variants.names(paths.ONNX)]
    rounds = list(speed.compare(folders, options.threads, options.rounds))
    print(variants.write(paths.ONNX, speed.medians(rounds), speed.machine(options.threads), variants.TABLE))
    return 0


def check(options: argparse.Namespace) -> int:
    """Compare a folder with the checksums in its manifest.json; name each bad file and exit with 1."""
    wrong = manifest.check(options.folder)
    print("\n".join(wrong) or f"whole: {len(manifest.read(options.folder)['files'])} files")
    return 1 if wrong else 0


def info(options: argparse.Namespace) -> int:
    """Where an artifact comes from: base, data, adapter, libraries, processor, and the commits that recorded it."""
    from refrain import info as source  # --help should not wait for DVC

    print(source.text(options.folder))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Rebuild a commit from nothing in another folder, and compare all that its stages make with what it recorded."""
    from refrain import rebuild, revisions
    from refrain import verify as proof

    commit, recorded = revisions.resolve(options.rev), revisions.lock(options.rev)
    if revisions.git("status", "--porcelain"):
        print(f"there are changes that are not committed; {commit[:12]} is rebuilt without them", file=sys.stderr)
    with ExitStack() as files:
        folder = options.folder or Path(files.enter_context(tempfile.TemporaryDirectory(prefix="refrain-")))
        rebuild.clone(commit, folder)
        start = time.perf_counter()
        for stage in rebuild.rerun(folder):
            print(f"{time.perf_counter() - start:6.0f} s  {stage}", file=sys.stderr, flush=True)
        rebuilt = rebuild.rebuilt(folder)
        rows = proof.compare(recorded, rebuilt, folder)
        print(proof.table(rows))
        if all(row.same for row in rows):
            print(f"\nthe same bytes as {commit[:12]} recorded")
            return 0
        from refrain import drift  # loads torch

        print("", *proof.files(rows, folder), drift.text(commit, recorded, rebuilt, folder), "", sep="\n")
        print(proof.parting(rows, recorded, rebuilt, folder))
        return 1


def audit(options: argparse.Namespace) -> int:
    """Hold what would be learned against every row of data/prepared; exit with 1 when an invariant is violated."""
    from refrain import inspection

    shown, fine = inspection.text()
    print(shown)
    return 0 if fine else 1


def clean(options: argparse.Namespace) -> int:
    """Remove the checkpoints of trainings that were stopped and that no process works on now: they start over then."""
    from refrain import checkpoints

    print(f"{checkpoints.clean() / 1e6:.1f} MB of checkpoints removed")
    return 0


def report(options: argparse.Namespace) -> int:
    """The metrics of every model, the proof of every link, and test questions with what each model says."""
    from refrain import report as outcome

    print(outcome.text(paths.METRICS, paths.PARITY, paths.PREDICTIONS, options.samples))
    return 0


if __name__ == "__main__":
    sys.exit(main())
