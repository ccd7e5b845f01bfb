"""Keys of a turn, or columns of a row, beside its text: whether it is learned, and what no text can hold.

None of them is dropped in silence. Whether a turn is learned is honoured, what the template would have to write beside
the text costs the row, and any other is counted by `ignored`.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Any

from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields

LEARN_KEYS = frozenset(  # false or 0: read, but not learned; without differences of case and punctuation
    (
        *("weight", "lossweight", "lossscale", "lossmask", "loss", "computeloss", "calculateloss", "useloss"),
        *("train", "training", "trainable", "trained", "istrained", "istrainable", "trainonturn", "dotrain", "learn"),
    )
)


MASK_KEYS = frozenset(("mask", "masked", "ismasked", "noloss", "ignoreloss"))  # true or 1: the same


TRAIN_KEYS = LEARN_KEYS | MASK_KEYS


SWITCHES = {"0": 0, "0.0": 0, "false": 0, "no": 0, "1": 1, "1.0": 1, "true": 1, "yes": 1}  # written as texts


@lru_cache(maxsize=1000)
def plain_key(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


WRITTEN_KEYS = frozenset(  # what a template writes, or a person means, beside the content of a turn
    (
        *("tool_calls", "function_call", "tool_call_id", "tool_responses", "tool_results", "tool_plan", "tools"),
        *("reasoning_content", "reasoning", "reasoning_details", "thinking", "thought", "thoughts", "think"),
        *("image", "images", "audio", "audios", "video", "videos", "file", "files", "attachments"),
        *("refusal", "prefix", "name", "documents", "citations", "train_detail", "training_detail"),
    )
)


LABELS = ("label", "kto_tag")  # columns that call the reply of a row good or bad


MEDIA_COLUMNS = ("image", "images", "audio", "audios", "video", "videos")


WRITTEN_COLUMNS = frozenset((*MEDIA_COLUMNS, "documents", "chat_template_kwargs"))


TEXT_PARTS = ("text", "input_text", "output_text")  # types of parts that a content may have


WAY_OUT = "only text is learned, so take the row or the key out of the file"


def refuse_more_than_text(turn: Fields, place: str, roles: dict[str, str], read_keys: Collection[str] = ()) -> None:
    """RowError when a turn says something beside its text; a name that is the role's own says nothing."""
    for key in [key for key in turn if key in WRITTEN_KEYS and key not in read_keys]:
        value = turn[key]
        if says_something(value) and not (key == "name" and isinstance(value, str) and value.lower() in roles):
            raise RowError("more_than_text", f"{place} has {key}; {WAY_OUT}")


def refuse_columns(row: Fields, is_chat: bool, read_columns: Collection[str]) -> None:
    """RowError when a row has a column of which a template would write something; text may mean anything elsewhere."""
    for column in [column for column in row if column in WRITTEN_COLUMNS and column not in read_columns]:
        if says_something(row[column]) and (is_chat or not is_plain_text(row[column])):
            raise RowError("more_than_text", f"the row has {column}; {WAY_OUT}")


def is_plain_text(value: Any) -> bool:
    """Whether a text is no JSON, so that beside a question it may be metadata of any kind."""
    return isinstance(value, str) and not value.lstrip().startswith(("[", "{"))


def is_to_be_learned(turn: Fields, place: str) -> bool:
    """What the keys of a turn of the assistant say; RowError when they disagree, or weigh it."""
    verdicts = {}
    for key in [key for key in turn if plain_key(key) in TRAIN_KEYS and turn[key] is not None]:
        value = SWITCHES.get(turn[key].strip().lower(), turn[key]) if isinstance(turn[key], str) else turn[key]
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise RowError("unknown_label", f"{key} of {place} is {value!a:.40}; only 0 and 1, or false and true, "
                           "can be honoured")  # fmt: skip
        verdicts[key] = bool(value) == (plain_key(key) in LEARN_KEYS)
    if len(set(verdicts.values())) > 1:
        raise RowError(
            "contradiction", f"{' and '.join(sorted(verdicts))} of {place} disagree on whether it is learned"
        )
    return all(verdicts.values())


VERDICTS = {"true": True, "false": False}


def read_verdict(value: Any) -> bool | None:
    """What a label says of the reply of its row; None if it is no such label, but the name of a class or a number."""
    return VERDICTS.get(value.strip().lower()) if isinstance(value, str) else value if isinstance(value, bool) else None


def read_label(row: Fields, column_of: dict[str, str]) -> bool | None:
    """Whether a row calls its reply a good one, None if it does not say; RowError when its labels disagree.

    Where `fields` names the column, and in `kto_tag`, which has no other use, 0 and 1 are labels too.
    """
    verdicts = {}
    for name in [name for name in LABELS if name in row]:
        verdict, column = read_verdict(row[name]), column_of.get(name, name)
        if verdict is None and (name in column_of or name == "kto_tag"):
            if row[name] not in (0, 1, "0", "1"):
                raise RowError("unknown_label", f"{column} of the row is {row[name]!a:.40}, neither true nor false")
            verdict = bool(int(row[name]))
        if verdict is not None:
            verdicts[column] = verdict
    if len(set(verdicts.values())) > 1:
        raise RowError("contradiction", f"{' and '.join(sorted(verdicts))} of the row disagree on its reply")
    return next(iter(verdicts.values()), None)


def join_parts(parts: list[Any], place: str) -> str:
    """The text of a content that is a list of parts, a line for each; RowError for a part that is no text."""
    texts = []
    for part in parts:
        kind = (
            part.get("type", next(iter(part), None) if len(part) == 1 else None) if isinstance(part, dict) else "text"
        )
        text = part.get("text") if isinstance(part, dict) else part
        if kind not in TEXT_PARTS:
            raise RowError("more_than_text", f"{place} has a part of type {kind!a:.40}; {WAY_OUT}")
        if not isinstance(text, str):
            raise RowError("not_text", f"{place} has a part without text")
        texts.append(text)
    return "\n".join(texts)


def says_something(value: Any) -> bool:
    """Whether a field is filled: not null, false, white space, or an empty list or object, written as text too."""
    if isinstance(value, str):
        return value.strip() not in ("", "[]", "{}", "null")
    return not (value is None or value is False or value in ([], {}))
