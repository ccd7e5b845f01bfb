"""A conversation as a model learns it, for people to read: what is learned stands between two brackets."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from refrain.chat import encoding
from refrain.chat.control_characters import escape_controls
from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer, Features
from refrain.chat.records import ENCODER, Row, has_bad_reply, is_learned, whole_text

BRACKETS = (("⟦", "⟧"), ("⟪", "⟫"), ("⟬", "⟭"), ("⦃", "⦄"), ("⦅", "⦆"), ("⦇", "⦈"))


def preview_row(tokenizer: ChatTokenizer, row: Row) -> str:
    """A row with every reply marked, a worse reply below; ValueError when the template cannot take the row.

    Nothing is marked where the row says that its reply is a bad one.
    """
    features = encoding.encode_conversation(tokenizer, row["messages"], row.get("tools"))
    if has_bad_reply(row):
        text = mark_labels(tokenizer, {**features, "labels": [IGNORE_INDEX] * len(features["labels"])})
        return f"{text}\n\nlabel: false"
    text = mark_labels(tokenizer, features)
    return f"{text}\n\nrejected: {escape_controls(row['rejected'])}" if "rejected" in row else text


def preview_turns(row: Row) -> str:
    """A row without a template: who says what, the turns that are learned marked, a worse reply below."""
    written = {"id", "messages", "own_id", "input_from"}
    opening, closing = choose_brackets(whole_text(message) for message in row["messages"])
    lines = [
        f"{message['role']}: {opening}{whole_text(message)}{closing}"
        if is_learned(message) and not has_bad_reply(row)
        else f"{message['role']}: {whole_text(message)}"
        for message in row["messages"]
    ]
    others = [(name, value) for name, value in row.items() if name not in written]
    lines += [f"{name}: {value if isinstance(value, str) else ENCODER.encode(value)}" for name, value in others]
    return escape_controls("\n".join(lines))


def choose_brackets(texts: Iterable[str]) -> tuple[str, str]:
    """The first of BRACKETS that the texts themselves have not."""
    signs = set[str]().union(*texts)
    return next((pair for pair in BRACKETS if not {*pair} & signs), BRACKETS[0])


def mark_labels(tokenizer: ChatTokenizer, features: Features) -> str:
    """What ids and labels say, trained tokens between the first of BRACKETS that the text itself has not.

    Control characters are shown by their signs, so that none reaches a terminal; line breaks and tabs are kept.
    """
    runs = [
        (is_learned, list(run))
        for is_learned, run in groupby(zip(features["input_ids"], features["labels"], strict=True), has_label)
    ]
    texts = [
        escape_controls(text) for text in decode_spans(tokenizer, ([token for token, _ in run] for _, run in runs))
    ]
    opening, closing = choose_brackets(texts)
    return "".join(
        f"{opening}{text}{closing}" if is_learned else text for (is_learned, _), text in zip(runs, texts, strict=True)
    )


def has_label(token: tuple[int, int]) -> bool:
    """Of an id and its label."""
    return token[1] != IGNORE_INDEX


def decode_spans(tokenizer: ChatTokenizer, spans: Iterable[Sequence[int]]) -> list[str]:
    """The text of each stretch of ids as it is in the middle of a text: decoders eat a blank at the beginning."""
    prefix = tokenizer.tokenizer.encode("a", add_special_tokens=False).ids
    texts = tokenizer.tokenizer.decode_batch([prefix, *([*prefix, *ids] for ids in spans)], skip_special_tokens=False)
    return [text.removeprefix(texts[0]) for text in texts[1:]]
