"""Variants of a training row: the same reply, to the question said otherwise or after less of the history."""

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

from refrain.config import Augment
from refrain.records import Message, Row

Draw = Callable[[str], float]  # a number from 0 to 1 for each name

PROMPT = "{prompt}"
PROTECTED = re.compile(  # a text is split into what may be touched, and this: code, quotations, tokens, formulas
    r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|^(?: {4}|\t)[^\n]*|`[^`\n]*`|\"[^\"\n]*\"|“[^“”\n]*”"
    r"|<[^<>\n]*>|\[[^][\n]*\]|\{[^{}\n]*\}|\$[^$\n]*\$)",
    re.DOTALL | re.MULTILINE,
)
SIGNS = ".!?\u2026\u3002\uff01\uff1f"  # that a sentence ends with, wide ones too
WORD = re.compile(  # no URL, number or name of a file
    rf"""["'\u2018\u201c(]*[^\W\d_]+(?:[-'\u2019][^\W\d_]+)*["'\u2019\u201d),;:{SIGNS}]*"""
)
LOWERED, UNENDED, DOUBLED = 1, 2, 4  # kinds of noise, in any sum


def variants(row: Row, augment: Augment, seed: int) -> Iterator[Row]:
    """Each differs from the row and from the others, ends with the same replies, and is named after the row.

    What is drawn depends on the seed and the id of the row alone, whatever other rows there are.
    """
    made = [row["messages"]]
    for name, messages in candidates(row, augment, partial(drawn, seed, row["id"])):
        if messages not in made:
            made.append(messages)
            variant: Row = {**row, "id": f"{row['id']}#{name}", "messages": messages, "parent": row["id"]}
            if question(messages) != question(row["messages"]):
                variant.pop("input_from", None)
            yield variant


def candidates(row: Row, augment: Augment, draw: Draw) -> Iterator[tuple[str, list[Message]]]:
    """Variants by name; one may turn out to be the row itself."""
    messages = row["messages"]
    for number, template in enumerate(augment.paraphrases, start=1):
        yield f"paraphrase-{number}", asked(messages, template.replace(PROMPT, question(messages)))
    if augment.merge_input and "input_from" in row:
        yield "merged", asked(messages, merged(question(messages), row["input_from"]))
    if draw("noise") < augment.noise:
        yield "noise", disturbed(row, draw)
    if draw("truncate") < augment.truncate:
        yield "truncated", truncated(messages, draw("turn"))


def drawn(seed: int, id: str, name: str) -> float:
    digest = hashlib.sha256(f"{seed} {name} {id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def last_question(messages: list[Message]) -> int:
    return max(at for at, message in enumerate(messages) if message["role"] == "user")


def question(messages: list[Message]) -> str:
    return messages[last_question(messages)]["content"]


def asked(messages: list[Message], text: str) -> list[Message]:
    """The same conversation with another last question."""
    at = last_question(messages)
    return [*messages[:at], {"role": "user", "content": text}, *messages[at + 1 :]]


def merged(text: str, at: int) -> str:
    """An instruction and the input that begins at a character, without the blank line; on one line if both are."""
    instruction, given = text[:at].rstrip(), text[at:]
    colon = ":" if instruction[-1:].isalnum() else ""
    gap = "\n" if "\n" in instruction + given else " "
    return f"{instruction}{colon}{gap}{given}"


def truncated(messages: list[Message], share: float) -> list[Message]:
    """Without the turns before a later question; the system turn stays."""
    roles = [message["role"] for message in messages]
    later = [at for at, pair in enumerate(pairwise(roles), start=1) if pair == ("assistant", "user")]
    if not later:
        return messages
    return [*messages[: roles[0] == "system"], *messages[later[int(share * len(later))] :]]


def disturbed(row: Row, draw: Draw) -> list[Message]:
    """All questions with one kind of noise, or with several; an input is left alone."""
    messages, last = list(row["messages"]), last_question(row["messages"])
    kinds = 1 + int(draw("kinds") * (LOWERED | UNENDED | DOUBLED))
    for at, message in enumerate(messages):
        if message["role"] == "user":
            text = message["content"]
            end = row.get("input_from", len(text)) if at == last else len(text)
            messages[at] = {"role": "user", "content": noisy(text[:end], kinds, draw(f"gap {at}")) + text[end:]}
    return messages


def noisy(text: str, kinds: int, share: float) -> str:
    """In lower case, without its last sign, or with a doubled blank; only plain words and what they end with."""
    pieces: list[str] = []
    plain: set[int] = set()
    for number, part in enumerate(PROTECTED.split(text)):
        for piece in [part] if number % 2 else re.findall(r"\s+|\S+", part):
            if number % 2 == 0 and WORD.fullmatch(piece):
                plain.add(len(pieces))
            pieces.append(piece)
    last = max((at for at, piece in enumerate(pieces) if piece.strip()), default=0)
    gaps = [at + 1 for at in sorted(plain) if at + 2 in plain and pieces[at + 1] == " "]
    if kinds & LOWERED:
        pieces = [lowered(piece) if at in plain else piece for at, piece in enumerate(pieces)]
    if kinds & UNENDED and last in plain:
        pieces[last] = pieces[last].rstrip(SIGNS)
    if kinds & DOUBLED and gaps:
        pieces[gaps[int(share * len(gaps))]] = "  "
    return "".join(pieces)


def lowered(word: str) -> str:
    """Names such as NASA or iPhone and letters that stand for something stay."""
    first, *others = filter(str.isalpha, word)
    capitalised = first.isupper() and not any(map(str.isupper, others))
    return word.lower() if capitalised and (others or first == "I") else word
