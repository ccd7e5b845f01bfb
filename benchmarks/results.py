"""The numbers of docs/results.md: which are older than their code, and each taken anew by the command above it.

    python -m benchmarks.results                          which there are, and what of their code has changed since
    python -m benchmarks.results NAME ... [--keep FOLDER] [--model FOLDER] [--data FOLDER]
                                                          run these again, and put what they print into the page
    python -m benchmarks.results --glance                 the first table anew, of the numbers further down

A block of the page begins with a comment, `begin NAME: PATH ...` with the code that it speaks of, and ends with `end
NAME`. Its first line has the command, the commit, the processor and the minutes that it took; what follows is what the
command prints. In a command KEEP is a folder of its own below --keep, MODEL a pretrained base, DATA the published sets.
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
from benchmarks.harness.machine import processor

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/results.md"
BLOCK = re.compile(r"<!-- begin (?P<name>[\w-]+):(?P<paths>[^>]*) -->\n(?P<text>.*?)<!-- end (?P=name) -->", re.DOTALL)
COMMAND = re.compile(r"`(?P<command>[^`]+)`(?:, commit (?P<commit>\w+))?")
GLANCE = "glance"


@dataclass(frozen=True)
class Block:
    """A part of the page that one command prints."""

    name: str
    paths: list[str]
    command: str
    commit: str | None  # None: never taken
    text: str


def main() -> None:
    options = arguments()
    blocks = read_blocks(PAGE.read_text(encoding="utf-8"))
    if unknown := [name for name in options.names if name not in blocks]:
        sys.exit(f"docs/results.md has no block {unknown[0]}; it has {', '.join(blocks)}")
    for name in options.names:
        places = {"KEEP": options.keep.resolve() / name, "MODEL": options.model, "DATA": options.data}
        replace(name, measure(blocks[name], {place: str(folder) for place, folder in places.items() if folder}))
    if options.names or options.glance:
        blocks = read_blocks(PAGE.read_text(encoding="utf-8"))
        replace(GLANCE, tables.to_markdown(goals.table({name: block.text for name, block in blocks.items()})) + "\n")
    else:
        print("\n".join(map(describe, blocks.values())))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--keep", type=Path, default=ROOT / "tmp/benchmarks")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--glance", action="store_true")
    return parser.parse_args()


def read_blocks(page: str) -> dict[str, Block]:
    """The blocks that commands print, by name, in the order of the page."""
    blocks = {}
    for found in BLOCK.finditer(page):
        line = COMMAND.match(found["text"])
        if line is not None:
            blocks[found["name"]] = Block(
                found["name"], found["paths"].split(), line["command"], line["commit"], found["text"]
            )
    return blocks


def measure(block: Block, places: dict[str, str]) -> str:
    """What the block says now; the page is left alone where the command fails."""
    command = [places.get(word, word) for word in shlex.split(block.command)]
    if missing := {"MODEL", "DATA"} & {*command}:
        sys.exit(f"{block.name}: its command needs --{min(missing).lower()} FOLDER")
    Path(places["KEEP"]).mkdir(parents=True, exist_ok=True)
    program = sys.executable if command[0] == "python" else str(Path(sys.executable).parent / command[0])
    print(f"{block.name}: {shlex.join(command)}", file=sys.stderr)
    begin = time.monotonic()
    ended = subprocess.run([program, *command[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{block.name}: the command above ended with {ended.returncode}; its numbers stay as they were")
    minutes = max(1, round((time.monotonic() - begin) / 60))
    where = f"commit {git('rev-parse', '--short', 'HEAD')}, {processor()}, {len(os.sched_getaffinity(0))} cores"
    printed = ended.stdout.strip("\n")
    body = printed if re.search(r"^\|", printed, re.MULTILINE) else f"```\n{printed}\n```"
    return f"`{block.command}`, {where}, {minutes} min:\n\n{body}\n\n"


def replace(name: str, text: str) -> None:
    """Writes a block's text anew, and leaves all else of the page as it is."""
    page = PAGE.read_text(encoding="utf-8")
    block = re.compile(rf"(<!-- begin {name}:[^>]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
    PAGE.write_text(block.sub(lambda found: found[1] + text + found[2], page), encoding="utf-8")


def describe(block: Block) -> str:
    """Name and command, and what of its code has changed since it was taken."""
    state = "never taken"
    if block.commit is not None:
        changed = git("diff", "--name-only", block.commit, "HEAD", "--", *block.paths).split()
        state = f"{len(changed)} files changed since {block.commit}" if changed else f"as at {block.commit}"
    return f"{block.name:14} {state:32} {block.command}"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
