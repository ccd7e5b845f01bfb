"""A conversation as a model learns it, for people to read: what is learned stands between two brackets."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from refrain.chat import encoding
from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer, Features
from refrain.chat.records import Row

BRACKETS = (("⟦", "⟧"), ("⟪", "⟫"), ("⟬", "⟭"), ("⦃", "⦄"), ("⦅", "⦆"), ("⦇", "⦈"))


VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}  # as ␛ and ␍


def preview_row(talk: ChatTokenizer, row: Row) -> str:
    """A row with every reply marked, a worse reply below; ValueError when the template cannot take the row."""
    shown = mark_labels(talk, encoding.encode_conversation(talk, row["messages"]))
    return f"{shown}\n\nrejected: {escape_controls(row['rejected'])}" if "rejected" in row else shown


def mark_labels(talk: ChatTokenizer, features: Features) -> str:
    """What ids and labels say, learned parts between the first of BRACKETS that the text itself has not.

    Control characters are shown by their signs, so that none reaches a terminal; line breaks and tabs are kept.
    """
    runs = [
        (learned, list(run))
        for learned, run in groupby(zip(features["input_ids"], features["labels"], strict=True), has_label)
    ]
    said = [escape_controls(each) for each in decode_spans(talk, ([token for token, _ in run] for _, run in runs))]
    opening, closing = next((pair for pair in BRACKETS if not {*pair} & {*"".join(said)}), BRACKETS[0])
    return "".join(
        f"{opening}{each}{closing}" if learned else each for (learned, _), each in zip(runs, said, strict=True)
    )


def has_label(token: tuple[int, int]) -> bool:
    """Of an id and its label."""
    return token[1] != IGNORE_INDEX


def decode_spans(talk: ChatTokenizer, stretches: Iterable[Sequence[int]]) -> list[str]:
    """The text of each stretch of ids as it is in the middle of a text: decoders eat a blank at the beginning."""
    before = talk.tokenizer.encode("a", add_special_tokens=False).ids
    whole = talk.tokenizer.decode_batch([before, *([*before, *ids] for ids in stretches)], skip_special_tokens=False)
    return [each.removeprefix(whole[0]) for each in whole[1:]]


def escape_controls(text: str) -> str:
    return text.translate(VISIBLE)
