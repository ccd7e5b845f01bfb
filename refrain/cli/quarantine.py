"""Lines of a file of prompts that ask nothing: written beside the replies, or named on stderr, and counted."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from refrain.pipeline.plurals import format_count

if TYPE_CHECKING:
    from refrain.generation.prompt_rows import BadLine, Prompt

STANDARD = Path("-")


class Quarantine:
    """The bad lines of one run, in a file that is there only if there are any."""

    def __init__(self, source: Path, output: Path) -> None:
        self.source = "stdin" if source == STANDARD else str(source)
        self.path = None if output == STANDARD else output.with_suffix(".quarantine.jsonl")
        self.file: TextIO | None = None
        self.count = self.good = 0

    def __enter__(self) -> Self:
        if self.path:
            self.path.unlink(missing_ok=True)  # of a run before
        return self

    def keep_prompts(self, rows: "Iterable[Prompt | BadLine]") -> "Iterator[Prompt]":
        """The prompts; the other lines are put here."""
        from refrain.generation.prompt_rows import BadLine

        for row in rows:
            if isinstance(row, BadLine):
                self.add(row)
            else:
                self.good += 1
                yield row

    def add(self, row: "BadLine") -> None:
        self.count += 1
        if self.path is None:
            print(f"refrain: {self.source}:{row.line}: {row.reason}", file=sys.stderr)
            return
        if self.file is None:
            self.file = self.path.open("w", encoding="utf-8")
        print(json.dumps(row._asdict(), ensure_ascii=False), file=self.file, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.file:
            self.file.close()
        if self.count:
            place = f"; {self.path} holds them with the reason of each" if self.path else ""
            lines = f"{self.count} of {format_count(self.count + self.good, 'line')}"
            print(f"refrain: {self.source}: {lines} ask nothing and are not answered{place}", file=sys.stderr)
        elif not self.good and error is None:
            print(f"refrain: {self.source}: there is no line to answer", file=sys.stderr)
