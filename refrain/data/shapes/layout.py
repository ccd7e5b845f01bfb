"""How the rows of a file are read: their shape, and which of their columns holds what."""

from dataclasses import dataclass, field
from typing import Any

from refrain.data.shapes.shape import Shape


@dataclass(frozen=True)
class Layout:
    """What was recognised in the first rows of a file, or named by a person."""

    shape: Shape
    columns: dict[str, str]  # our name of each column that is read, and the column
    named: dict[str, str] = field(default_factory=dict)  # those of them that `fields` names
    absent: frozenset[str] = frozenset()  # columns that are read, but that the first rows do not have
    ignored: tuple[str, ...] = ()  # columns of the first rows that nothing reads
    splits: dict[str, str] = field(default_factory=dict)  # what the column `split` says there, and our split

    @property
    def read(self) -> dict[str, str]:
        """Our name for each column that the first rows have and that is read, and the column."""
        return {name: column for name, column in self.columns.items() if column not in self.absent}

    def report(self) -> dict[str, Any]:
        """As reports/data.json keeps it."""
        return {"shape": self.shape.name, "columns": self.read, "splits": self.splits}

    def describe(self) -> str:
        """One line for a person: the shape, what columns of other names are, and what becomes of splits."""
        parts = [f"shape {self.shape.name}", *(f"{column} is its {name}" for name, column in self.read.items()
                                                if name not in (column, "split"))]  # fmt: skip
        if self.splits:
            goals = ", ".join(f"{value} to {split}" for value, split in self.splits.items())
            parts.append(f"{self.columns['split']} sends {goals}")
        return "; ".join(parts)
