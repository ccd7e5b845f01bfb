"""Tables of turns: each row is one turn of a chat, as exports of messengers and help desks have them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from refrain.data.readers.raw_rows import RawRow, RowBlock, in_blocks
from refrain.data.shapes import fields
from refrain.data.shapes.columns import plain_name
from refrain.data.shapes.conversations import ParseResult
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.layout import Layout
from refrain.data.shapes.turns import ROLES, SPEAKERS, plain_role
from refrain.pipeline.schema import Policies, SourceConfig

NAME = "turns"


ALIASES = {
    "role": (*SPEAKERS[1:], "sender_name", "user"),
    "content": ("text", "message", "value", "body", "utterance"),
    "conversation": ("conversation_id", "chat_id", "thread_id", "dialog_id", "dialogue_id", "session_id", "ticket_id"),
}


SHARED = ("system", "split", "group")  # columns that are those of a conversation, alike in all of its rows


TREE_COLUMNS = {"message_id", "parent_id"}  # of turns that answer others than the one above them


TREE_REASON = (
    "its rows are single messages of trees, which lie apart in the file; name instead the file of trees that is"
    " published beside it (*.trees.jsonl.gz)"
)


MAX_SPEAKERS = 6  # that are named where it must be said who of them is the assistant


def has_role(row: Fields) -> bool:
    """Whether a row is a turn of somebody whose role is known by its name."""
    role = row["role"]
    return isinstance(role, str) and plain_role(role) in ROLES


def refuse_alone(row: Fields, policies: Policies) -> Iterable[ParseResult]:
    """A turn is no conversation; those of a table are grouped before they are parsed."""
    raise RowError("no_reply", "the row is a turn of a conversation")


def check_table(source: SourceConfig, layout: Layout, first_rows: list[Fields]) -> None:
    """ValueError where rows are turns of trees, or nobody is called as the assistant is said to be."""
    if is_tree(first_rows):
        raise ValueError(f"{source.path}: {TREE_REASON}")
    speakers = count_speakers(first_rows, layout.columns["role"])
    if source.assistant is not None and not any(is_called(name, source.assistant) for name in speakers):
        raise ValueError(f"{source.path}: assistant: {source.assistant} says nothing in its first rows; "
                         f"{layout.columns['role']} names {describe_speakers(speakers)}")  # fmt: skip


def is_tree(rows: list[Fields]) -> bool:
    return any(row.keys() >= TREE_COLUMNS for row in rows)


def describe_unknown_roles(first_rows: list[Fields]) -> str | None:
    """What to write where rows look like turns of people whose roles nobody knows; None where they do not."""
    columns = {plain_name(column): column for row in first_rows for column in row}
    role = next((columns[plain_name(name)] for name in SPEAKERS if plain_name(name) in columns), None)
    content = next((columns[name] for name in ("content", *ALIASES["content"]) if name in columns), None)
    speakers = count_speakers(first_rows, role) if role else Counter[str]()
    if role is None or content is None or not 1 < len(speakers) <= len(first_rows) / 2:
        return None
    likely = max(reversed(list(speakers)), key=lambda name: speakers[name])  # who answers says most, or speaks last
    return (
        f"its rows are turns, each {content} said by its {role}, which names {describe_speakers(speakers)}; say beside "
        f"the path who of them is the assistant, such as `assistant: {likely}`"
    )


def count_speakers(rows: list[Fields], column: str) -> Counter[str]:
    return Counter(row[column] for row in rows if isinstance(row.get(column), str) and row[column].strip())


def describe_speakers(speakers: Counter[str]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in speakers.most_common(MAX_SPEAKERS))
    return shown + (f" and {len(speakers) - MAX_SPEAKERS} more" if len(speakers) > MAX_SPEAKERS else "")


def is_called(name: Any, assistant: str) -> bool:
    return isinstance(name, str) and name.strip().lower() == assistant.strip().lower()


def group_blocks(blocks: Iterable[Any], columns: dict[str, str], assistant: str | None) -> Iterator[RowBlock]:
    """The rows of all blocks as conversations, each where its first row stands."""
    grouping = TurnGrouping(columns, assistant)
    return in_blocks(grouping.conversations(raw for block in blocks for raw in block.rows()))


@dataclass(frozen=True)
class TurnGrouping:
    """Which rows are one conversation: those of one id, which are held in memory, wherever they stand; without a column
    of ids a question and its replies."""

    columns: dict[str, str]  # our name, and the column
    assistant: str | None

    def conversations(self, raws: Iterable[RawRow]) -> Iterator[RawRow]:
        """A raw row for each conversation, and each row that cannot be read; that costs what stands beside it too."""
        return self.by_id(raws) if "conversation" in self.columns else self.by_order(raws)

    def by_id(self, raws: Iterable[RawRow]) -> Iterator[RawRow]:
        groups: dict[str, list[RawRow]] = {}
        torn: set[str | None] = set()
        last, is_behind_broken = None, False
        for raw in raws:
            if is_broken(raw):
                torn.add(last)
                is_behind_broken = True
                yield raw
                continue
            last = self.conversation_of(raw.value)
            if last is None:
                yield raw._replace(value=None, error=f"the row has no {self.columns['conversation']}")
                continue
            groups.setdefault(last, []).append(raw)
            if is_behind_broken:
                torn.add(last)
            is_behind_broken = False
        for conversation, turns in groups.items():
            yield describe_torn(turns) if conversation in torn else self.join(turns)

    def by_order(self, raws: Iterable[RawRow]) -> Iterator[RawRow]:
        turns: list[RawRow] = []
        is_torn = False
        for raw in raws:
            if is_broken(raw):
                yield from [describe_torn(turns)] if turns else []
                yield raw
                turns, is_torn = [], True
                continue
            if turns and self.begins_conversation(turns[-1].value, raw.value):
                yield describe_torn(turns) if is_torn else self.join(turns)
                turns, is_torn = [], False
            turns.append(raw)
        if turns:
            yield describe_torn(turns) if is_torn else self.join(turns)

    def conversation_of(self, row: Fields) -> str | None:
        value = row.get(self.columns["conversation"])
        return None if fields.is_empty(value) or isinstance(value, list | dict) else str(value)

    def role_of(self, row: Fields) -> Any:
        """Who speaks: beside a named assistant everybody is the user, but for a system turn."""
        name = row.get(self.columns["role"])
        if self.assistant is None or not isinstance(name, str) or ROLES.get(plain_role(name)) == "system":
            return name
        return "assistant" if is_called(name, self.assistant) else "user"

    def begins_conversation(self, row: Fields, next_row: Fields) -> bool:
        """Whether a row asks anew: a system turn does, and the user's behind the assistant's."""
        role, next_role = (
            ROLES.get(plain_role(name)) if isinstance(name := self.role_of(each), str) else None
            for each in (row, next_row)
        )
        return next_role == "system" or (role == "assistant" and next_role == "user")

    def join(self, turns: list[RawRow]) -> RawRow:
        """The conversation of these rows, with what all of them say of it."""
        shared = {name: self.columns[name] for name in SHARED if name in self.columns}
        values: Fields = {"messages": [self.make_turn(turn.value, shared) for turn in turns]}
        for name, column in shared.items():
            said = [turn.value[column] for turn in turns if not fields.is_empty(turn.value.get(column))]
            if any(value != said[0] for value in said):
                return turns[0]._replace(value=None, error=f"the rows of its conversation disagree on {column}")
            values |= {name: said[0]} if said else {}
        return turns[0]._replace(value=values)

    def make_turn(self, row: Fields, shared: dict[str, str]) -> Fields:
        """A row as a turn of a chat: what it says, who says it, and what else it has."""
        content = self.columns["content"]
        own = {self.columns["role"], content, self.columns.get("conversation"), *shared.values()}
        others = {key: value for key, value in row.items() if key not in own}
        return {"role": self.role_of(row), **({"content": row[content]} if content in row else {}), **others}


def is_broken(raw: RawRow) -> bool:
    return bool(raw.error) or not isinstance(raw.value, dict)


def describe_torn(turns: list[RawRow]) -> RawRow:
    return turns[0]._replace(
        value=None, error="a row beside those of its conversation cannot be read, so a turn may lack"
    )
