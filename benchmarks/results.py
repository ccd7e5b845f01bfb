"""The numbers of docs/results.md: which are older than their code, and each taken anew by one command.

    python -m benchmarks.results                          which there are, and what of their code has changed since
    python -m benchmarks.results NAME ... [--keep FOLDER] [--model FOLDER] [--data FOLDER] [--run FOLDER]
                                          [--before FOLDER]
                                                          run these again, and put what they print into the page
    python -m benchmarks.results --glance                 the first table anew, of the numbers further down

A block of the page begins with a comment, `begin NAME: COMMAND; PATH ...` with the code that it speaks of, and ends
with `end NAME`. It holds a run for each processor, the last one on it: a line with the command, the commit, the
processor and the minutes, then what the command printed. A block that begins with `begin NAME, one run` says the same
on every processor. In a command KEEP is a folder of its own below --keep, MODEL a pretrained base, DATA the published
sets, RUN a workspace in which train has ended, as `pretrained` leaves them, and BEFORE a work tree of the version to
compare with.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import goals, tables
from benchmarks.harness.machine import processor, short_name
from benchmarks.harness.process_cost import environment

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/results.md"
BLOCK = re.compile(
    r"<!-- begin (?P<name>[\w-]+)(?P<one_run>, one run)?: (?P<command>[^;>]*)(?:; (?P<paths>[^>]*))? -->\n"
    r"(?P<text>.*?)<!-- end (?P=name) -->",
    re.DOTALL,
)
RUN = re.compile(
    r"^`(?P<command>[^`\n]+)`, commit (?P<commit>\w+), (?P<processor>.+), \d+ cores, \d+ min:$", re.MULTILINE
)
GLANCE = "glance"
PLACES = ("MODEL", "DATA", "RUN", "BEFORE")


@dataclass(frozen=True)
class Run:
    """What a command printed on one processor, with the line above it."""

    command: str
    commit: str
    processor: str
    text: str


@dataclass(frozen=True)
class Block:
    """A part of the page that one command prints."""

    name: str
    command: str
    paths: list[str]
    is_one_run: bool  # the same on every processor
    runs: list[Run]

    def with_run(self, new: Run) -> str:
        """The text of the block with a run in place of the one on the same processor, or behind all others."""
        is_replaced = [self.is_one_run or run.processor == new.processor for run in self.runs]
        runs = [new if old else run for run, old in zip(self.runs, is_replaced, strict=True)]
        return "".join(run.text for run in (runs if any(is_replaced) else [*self.runs, new]))


def main() -> None:
    options = arguments()
    blocks = read_blocks(PAGE.read_text(encoding="utf-8"))
    if unknown := [name for name in options.names if name not in blocks]:
        sys.exit(f"docs/results.md has no block {unknown[0]}; it has {', '.join(blocks)}")
    for name in options.names:
        folders = {"KEEP": options.keep.resolve() / name}
        folders |= {place: given for place in PLACES if (given := getattr(options, place.lower()))}
        replace(name, blocks[name].with_run(measure(blocks[name], folders)))
    if options.names or options.glance:
        replace(GLANCE, glance(read_blocks(PAGE.read_text(encoding="utf-8"))))
    else:
        print(tables.align([["name", "processor", "state", "command"], *describe(blocks)]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--keep", type=Path, default=ROOT / "tmp/benchmarks")
    for place in PLACES:
        parser.add_argument(f"--{place.lower()}", type=Path, metavar="FOLDER")
    parser.add_argument("--glance", action="store_true")
    return parser.parse_args()


def read_blocks(page: str) -> dict[str, Block]:
    """The blocks that commands print, by name, in the order of the page."""
    blocks = {}
    for found in BLOCK.finditer(page):
        paths, runs = (found["paths"] or "").split(), read_runs(found["text"])
        blocks[found["name"]] = Block(found["name"], found["command"], paths, bool(found["one_run"]), runs)
    return blocks


def read_runs(text: str) -> list[Run]:
    """The runs of a block's text, each with all that stands below its line."""
    lines = [*RUN.finditer(text)]
    ends = [*(line.start() for line in lines[1:]), len(text)]
    return [
        Run(line["command"], line["commit"], line["processor"], text[line.start() : end])
        for line, end in zip(lines, ends, strict=False)  # without a line there is an end alone
    ]


def glance(blocks: dict[str, Block]) -> str:
    """The first table, with a column for each processor on which a goal was measured."""
    texts = {
        name: {short_name(run.processor): run.text for run in block.runs}
        for name, block in blocks.items()
        if not block.is_one_run
    }
    return tables.to_markdown(goals.table(texts)) + "\n"


def measure(block: Block, folders: dict[str, Path]) -> Run:
    """What the block's command prints now; the page is left alone where it fails."""
    command = [str(folders.get(word, word)) for word in shlex.split(block.command)]
    if missing := {*PLACES} & {*command}:
        sys.exit(f"{block.name}: its command needs --{min(missing).lower()} FOLDER")
    folders["KEEP"].mkdir(parents=True, exist_ok=True)
    print(f"{block.name}: {shlex.join(command)}", file=sys.stderr)
    begin = time.monotonic()
    ended = subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{block.name}: the command above ended with {ended.returncode}; its numbers stay as they were")
    minutes, commit = max(1, round((time.monotonic() - begin) / 60)), git("rev-parse", "--short", "HEAD").strip()
    printed = re.sub(r"\n{3,}", "\n\n", ended.stdout.strip("\n"))
    body = printed if re.search(r"^\|", printed, re.MULTILINE) else f"```\n{printed}\n```"
    where = f"commit {commit}, {processor()}, {len(os.sched_getaffinity(0))} cores, {minutes} min"
    return Run(block.command, commit, processor(), f"`{block.command}`, {where}:\n\n{body}\n\n")


def replace(name: str, text: str) -> None:
    """Writes a block's text anew, and leaves all else of the page as it is."""
    page = PAGE.read_text(encoding="utf-8")
    block = re.compile(rf"(<!-- begin {name}[:,][^>]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
    PAGE.write_text(block.sub(lambda found: found[1] + text + found[2], page), encoding="utf-8")


def describe(blocks: dict[str, Block]) -> list[list[str]]:
    """A line for each run: its processor, what of its code has changed since, and the command that takes it anew."""
    return [
        [block.name, short_name(run.processor) if run else "", state_of(block, run), block.command]
        for block in blocks.values()
        for run in block.runs or (None,)
    ]


def state_of(block: Block, run: Run | None) -> str:
    """Whether a run is as its code is now."""
    if run is None:
        return "never taken"
    if run.command != block.command:
        return "stale: another command"
    try:
        changed = git("diff", "--name-only", run.commit, "HEAD", "--", *block.paths).split()
    except subprocess.CalledProcessError:
        return f"stale: {run.commit} is not in this clone"
    return f"stale: {len(changed)} files since {run.commit}" if changed else f"as at {run.commit}"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
