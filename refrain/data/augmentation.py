"""Variants of a training row: the same reply, to the question said otherwise or after less of the history.

Variants of training rows, behind them in train.jsonl: none asks what a held-out row asks.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from refrain.chat.records import Message, Row
from refrain.data.corpus import NO_AUGMENTATION, RowPreparer
from refrain.data.parallel import mapping
from refrain.data.shapes import conversations
from refrain.data.splitting import contamination, near_duplicates
from refrain.data.splitting.leakage import TRAIN
from refrain.data.splitting.ragged import Array
from refrain.data.splitting.row_store import RowBatch, RowBatchBuilder, RowStore
from refrain.data.splitting.splits import Assignment
from refrain.pipeline import paths
from refrain.pipeline.schema import AugmentationConfig, DataConfig

Draw = Callable[[str], float]  # a number from 0 to 1 for each name


PROMPT = "{prompt}"


PROTECTED = re.compile(  # a text is split into what may be touched, and this: code, quotations, tokens, formulas
    r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|^(?: {4}|\t)[^\n]*|`[^`\n]*`|\"[^\"\n]*\"|“[^“”\n]*”"
    r"|<[^<>\n]*>|\[[^][\n]*\]|\{[^{}\n]*\}|\$[^$\n]*\$)",
    re.DOTALL | re.MULTILINE,
)


END_SIGNS = ".!?\u2026\u3002\uff01\uff1f"  # that a sentence ends with, wide ones too


WORD = re.compile(  # no URL, number or name of a file
    rf"""["'\u2018\u201c(]*[^\W\d_]+(?:[-'\u2019][^\W\d_]+)*["'\u2019\u201d),;:{END_SIGNS}]*"""
)


LOWER_CASE, NO_END_SIGN, DOUBLE_BLANK = 1, 2, 4  # kinds of noise, in any sum


def augment_row(row: Row, augment: AugmentationConfig, seed: int) -> Iterator[Row]:
    """Each differs from the row and from the others, ends with the same replies, and is named after the row.

    What is drawn depends on the seed and the id of the row alone, whatever other rows there are.
    """
    made = [row["messages"]]
    for name, messages in variant_candidates(row, augment, partial(random_share, seed, row["id"])):
        if messages not in made:
            made.append(messages)
            variant: Row = {**row, "id": f"{row['id']}#{name}", "messages": messages, "parent": row["id"]}
            if last_question(messages) != last_question(row["messages"]):
                variant.pop("input_from", None)
            yield variant


def variant_candidates(row: Row, augment: AugmentationConfig, draw: Draw) -> Iterator[tuple[str, list[Message]]]:
    """Variants by name; one may turn out to be the row itself."""
    messages = row["messages"]
    for number, template in enumerate(augment.paraphrases, start=1):
        yield f"paraphrase-{number}", replace_question(messages, template.replace(PROMPT, last_question(messages)))
    if augment.merge_input and "input_from" in row:
        yield "merged", replace_question(messages, merge_input(last_question(messages), row["input_from"]))
    if draw("noise") < augment.noise:
        yield "noise", add_noise_to_questions(row, draw)
    if draw("truncate") < augment.truncate:
        yield "truncated", drop_first_turns(messages, draw("turn"))


def random_share(seed: int, id: str, name: str) -> float:
    digest = hashlib.sha256(f"{seed} {name} {id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def last_question(messages: list[Message]) -> str:
    return messages[conversations.last_turn(messages, "user")]["content"]


def replace_question(messages: list[Message], text: str) -> list[Message]:
    """The same conversation with another last question."""
    at = conversations.last_turn(messages, "user")
    return [*messages[:at], {"role": "user", "content": text}, *messages[at + 1 :]]


def merge_input(text: str, at: int) -> str:
    """An instruction and the input that begins at a character, without the blank line; on one line if both are."""
    instruction, given = text[:at].rstrip(), text[at:]
    colon = ":" if instruction[-1:].isalnum() else ""
    gap = "\n" if "\n" in instruction + given else " "
    return f"{instruction}{colon}{gap}{given}"


def drop_first_turns(messages: list[Message], share: float) -> list[Message]:
    """Without the turns before a later question; the system turn stays."""
    roles = [message["role"] for message in messages]
    later = [at for at, pair in enumerate(pairwise(roles), start=1) if pair == ("assistant", "user")]
    if not later:
        return messages
    return [*messages[: roles[0] == "system"], *messages[later[int(share * len(later))] :]]


def add_noise_to_questions(row: Row, draw: Draw) -> list[Message]:
    """All questions with one kind of noise, or with several; an input is left alone."""
    messages, last = list(row["messages"]), conversations.last_turn(row["messages"], "user")
    kinds = 1 + int(draw("kinds") * (LOWER_CASE | NO_END_SIGN | DOUBLE_BLANK))
    for at, message in enumerate(messages):
        if message["role"] == "user":
            text = message["content"]
            end = row.get("input_from", len(text)) if at == last else len(text)
            messages[at] = {"role": "user", "content": add_noise(text[:end], kinds, draw(f"gap {at}")) + text[end:]}
    return messages


def add_noise(text: str, kinds: int, share: float) -> str:
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
    if kinds & LOWER_CASE:
        pieces = [lower_case(piece) if at in plain else piece for at, piece in enumerate(pieces)]
    if kinds & NO_END_SIGN and last in plain:
        pieces[last] = pieces[last].rstrip(END_SIGNS)
    if kinds & DOUBLE_BLANK and gaps:
        pieces[gaps[int(share * len(gaps))]] = "  "
    return "".join(pieces)


def lower_case(word: str) -> str:
    """Names such as NASA or iPhone and letters that stand for something stay."""
    first, *others = filter(str.isalpha, word)
    capitalised = first.isupper() and not any(map(str.isupper, others))
    return word.lower() if capitalised and (others or first == "I") else word


BATCH_ROWS = 2_000


@dataclass(frozen=True)
class AugmentRows:
    """From rows as they stand in train.jsonl to a part of their variants."""

    preparer: RowPreparer

    def __call__(self, rows: list[bytes]) -> RowBatch:
        data, seed = self.preparer.data, self.preparer.seed
        collected = RowBatchBuilder("", data.leaks.ngram_size, seed)
        for text in rows:
            for variant in augment_row(json.loads(text), data.augment, seed):
                collected.row_count += 1
                if self.preparer.fits_limit(variant):
                    collected.add(variant, None, source=-1, line=-1, offset=-1, nth=0, member=0)
        return collected.build(self.preparer.store_folder)


def append_variants(spool: RowStore, placed: Assignment, reading: RowPreparer) -> dict[str, int]:
    """Append the variants; how many there are of each kind, and how many were left out: too long, or held out."""
    data, known, made_of = reading.data, len(spool), np.flatnonzero(placed.split == TRAIN)
    if data.augment == NO_AUGMENTATION:
        return {}
    tried = 0
    for part in mapping.parallel_map(AugmentRows(reading), text_batches(spool, made_of), data):
        tried += part.row_count
        spool.add(part)
    spool.consolidate()
    made, held = np.arange(known, len(spool)), np.flatnonzero((placed.split != TRAIN) & (placed.owner < 0))
    out = set(leaking_variants(spool, made, held, data).tolist())
    counts = Counter(left_out=tried - len(made) + len(out))
    with (paths.PREPARED / "train.jsonl").open("ab") as file:
        for row, text in zip(made.tolist(), spool.read_texts(made.tolist()), strict=True):
            if row not in out:
                file.write(text)
                counts[json.loads(text)["id"].rpartition("#")[2].partition("-")[0]] += 1
    return dict(counts)


def text_batches(spool: RowStore, rows: Array) -> Iterator[list[bytes]]:
    for begin in range(0, len(rows), BATCH_ROWS):
        yield list(spool.read_texts(rows[begin : begin + BATCH_ROWS].tolist()))


def leaking_variants(spool: RowStore, made: Array, held: Array, data: DataConfig) -> Array:
    """Those of the made rows that ask what a held-out row asks, nearly ask it, or say a long stretch of it."""
    same = made[np.isin(spool["prompt"][made], spool["prompt"][held])]
    dirty = [
        same,
        *(
            variants_near_held_out(spool, made, held, float(share))
            for share in [data.leaks.near_duplicate_threshold]
            if share is not None
        ),
    ]
    dirty.append(contamination.contaminated_rows(spool, made, held, data)[0])
    return np.unique(np.concatenate(dirty))


def variants_near_held_out(spool: RowStore, made: Array, held: Array, share: float) -> Array:
    sets = spool.ragged_column("runs").select(np.concatenate([held, made]))
    candidates = near_duplicates.find_candidates(sets, share)
    found = []
    for place in range(len(held), len(sets)):
        others = candidates.earlier_than(place)
        others = others[others < len(held)]
        if len(others) and near_duplicates.are_near(sets[place], sets, others, share).any():
            found.append(made[place - len(held)])
    return np.array(found, np.int64)
