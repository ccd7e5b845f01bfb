"""The columns of a row under our names, and what they say beside the turns."""

from refrain import rules
from refrain.conversations import Conversation, Said
from refrain.records import Message
from refrain.rules import Fields, RowError


def named(value: Fields, needs: tuple[str, ...], uses: tuple[str, ...], fields: dict[str, str]) -> Fields:
    """The columns that a shape needs or uses, under our names, without optional ones that are empty."""
    own = {*needs, *uses} - taken(fields)
    used = {name: name for name in own} | fields
    row = {name: value[column] for name, column in used.items() if column in value}
    return {name: field for name, field in row.items() if name in needs or not rules.empty(field)}


def taken(fields: dict[str, str]) -> set[str]:
    """The columns that have no other use than the named one; only that of a group keeps its own."""
    return {column for name, column in fields.items() if name != "group"}


def beside(row: Fields) -> Conversation:
    """A system turn, the row's own id and its group."""
    system: list[Message] = [{"role": "system", "content": rules.text(row, "system")}] if "system" in row else []
    extras: Conversation = {"messages": system}
    if isinstance(row.get("id"), str | int):
        extras["own_id"] = rules.text({"id": str(row["id"])}, "id")
    if "group" in row:
        group = row["group"]
        extras["group"] = rules.text({"group": str(group) if isinstance(group, int | float) else group}, "group")
    return extras


def completed(said: Said, extras: Conversation) -> Said:
    """A conversation and what its row says beside it; a part has its own id, and the group that `fields` names."""
    if isinstance(said, RowError):
        return said
    whole: Conversation = {**extras, **said, "messages": [*extras["messages"], *said["messages"]]}
    if "group" in extras:
        whole["group"] = extras["group"]
    return whole
