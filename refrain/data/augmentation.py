"""Variants of training rows, behind them in train.jsonl: the same reply, to another wording or after less history.

None asks what a held-out row asks.
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
from refrain.data.parallel import mapping
from refrain.data.row_preparer import NO_AUGMENTATION, RowPreparer
from refrain.data.shapes import turns
from refrain.data.splitting import asked_questions, contamination, leakage, near_prompts
from refrain.data.splitting.leakage import NONE, TRAIN
from refrain.data.splitting.ragged import Array
from refrain.data.splitting.row_batches import NOWHERE, RowBatchBuilder
from refrain.data.splitting.row_store import RowBatch, RowStore
from refrain.data.splitting.splits import Assignment
from refrain.pipeline import paths
from refrain.pipeline.schema import AugmentationConfig, DataConfig

Draw = Callable[[str], float]  # a number from 0 to 1 for each name


BATCH_ROWS = 2_000


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


def append_variants(store: RowStore, assignment: Assignment, preparer: RowPreparer) -> dict[str, int]:
    """Append the variants; how many there are of each kind, and how many were left out: too long, or held out."""
    data, row_count, train_rows = preparer.data, len(store), np.flatnonzero(assignment.split == TRAIN)
    if data.augment == NO_AUGMENTATION:
        return {}
    variant_count = 0
    for batch in mapping.parallel_map(AugmentRows(preparer), text_batches(store, train_rows), data):
        variant_count += batch.row_count
        store.add(batch)
    store.consolidate()
    variants = np.arange(row_count, len(store))
    held_out = np.flatnonzero((assignment.split != TRAIN) & (assignment.owner < 0))
    leaking = set(leaking_variants(store, variants, held_out, data).tolist())
    counts = Counter(left_out=variant_count - len(variants) + len(leaking))
    with (paths.PREPARED / "train.jsonl").open("ab") as file:
        for row, text in zip(variants.tolist(), store.read_texts(variants.tolist()), strict=True):
            if row not in leaking:
                file.write(text)
                counts[json.loads(text)["id"].rpartition("#")[2].partition("-")[0]] += 1
    return dict(counts)


def text_batches(store: RowStore, rows: Array) -> Iterator[list[bytes]]:
    for start in range(0, len(rows), BATCH_ROWS):
        yield list(store.read_texts(rows[start : start + BATCH_ROWS].tolist()))


@dataclass(frozen=True)
class AugmentRows:
    """From rows as they stand in train.jsonl to a batch of their variants."""

    preparer: RowPreparer

    def __call__(self, rows: list[bytes]) -> RowBatch:
        data, seed = self.preparer.data, self.preparer.seed
        builder = RowBatchBuilder("", data.leaks.ngram_size, seed)
        for text in rows:
            for variant in augment_row(json.loads(text), data.augment, seed):
                builder.row_count += 1
                if self.preparer.fits_limit(variant):
                    builder.add(variant, None, NOWHERE, NONE)
        return builder.build(self.preparer.store_folder)


def leaking_variants(store: RowStore, variants: Array, held_out: Array, data: DataConfig) -> Array:
    """Those of the variants that ask what a held-out row asks, nearly ask it, or say a shingle of it."""
    has_same_prompt = np.isin(store["prompt"][variants], store["prompt"][held_out])
    return np.unique(
        np.concatenate(
            [
                variants[has_same_prompt],
                asked_questions.rows_that_ask(store, variants, held_out),
                contamination.contaminated_rows(store, variants, held_out, data)[0],
                variants_near_held_out(store, variants, held_out, data),
            ]
        )
    )


def variants_near_held_out(store: RowStore, variants: Array, held_out: Array, data: DataConfig) -> Array:
    """Those of the variants that nearly ask what a held-out row asks."""
    is_near = np.zeros(len(variants), bool)
    with near_prompts.near_searches(store, np.concatenate([held_out, variants]), data) as searches:
        for search in searches:
            for number in range(len(variants)):
                others = leakage.before(search.earlier_candidates(len(held_out) + number), len(held_out))
                is_near[number] |= bool(search.find_first_near(len(held_out) + number, others))
    return variants[is_near]


def augment_row(row: Row, augment: AugmentationConfig, seed: int) -> Iterator[Row]:
    """Variants of one row: different from it and from each other, with the same last replies, named after the row.

    What is drawn depends on the seed and the id of the row alone, whatever other rows there are.
    """
    versions = [row["messages"]]
    for name, messages in variant_candidates(row, augment, partial(random_share, seed, row["id"])):
        if messages not in versions:
            versions.append(messages)
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
    return messages[turns.last_turn(messages, "user")]["content"]


def replace_question(messages: list[Message], text: str) -> list[Message]:
    """The same conversation with another last question."""
    at = turns.last_turn(messages, "user")
    return [*messages[:at], {"role": "user", "content": text}, *messages[at + 1 :]]


def merge_input(question: str, at: int) -> str:
    """An instruction and the input that begins at a character, without the blank line; on one line if both are."""
    instruction, added_input = question[:at].rstrip(), question[at:]
    colon = ":" if instruction[-1:].isalnum() else ""
    gap = "\n" if "\n" in instruction + added_input else " "
    return f"{instruction}{colon}{gap}{added_input}"


def drop_first_turns(messages: list[Message], share: float) -> list[Message]:
    """Without the turns before a later question; the system turn stays."""
    roles = [message["role"] for message in messages]
    later_questions = [at for at, pair in enumerate(pairwise(roles), start=1) if pair == ("assistant", "user")]
    if not later_questions:
        return messages
    return [*messages[: roles[0] == "system"], *messages[later_questions[int(share * len(later_questions))] :]]


def add_noise_to_questions(row: Row, draw: Draw) -> list[Message]:
    """All questions with one kind of noise, or with several; an input is left alone."""
    messages, last = list(row["messages"]), turns.last_turn(row["messages"], "user")
    kinds = 1 + int(draw("kinds") * (LOWER_CASE | NO_END_SIGN | DOUBLE_BLANK))
    for at, message in enumerate(messages):
        if message["role"] == "user":
            text = message["content"]
            noise_end = row.get("input_from", len(text)) if at == last else len(text)
            noisy = add_noise(text[:noise_end], kinds, draw(f"gap {at}"))
            messages[at] = {"role": "user", "content": noisy + text[noise_end:]}
    return messages


def add_noise(text: str, kinds: int, share: float) -> str:
    """In lower case, without its last sign, or with a doubled blank; only plain words and what they end with."""
    pieces: list[str] = []
    plain_words: set[int] = set()
    for number, passage in enumerate(PROTECTED.split(text)):
        for piece in [passage] if number % 2 else re.findall(r"\s+|\S+", passage):
            if number % 2 == 0 and WORD.fullmatch(piece):
                plain_words.add(len(pieces))
            pieces.append(piece)
    last = max((at for at, piece in enumerate(pieces) if piece.strip()), default=0)
    gaps = [at + 1 for at in sorted(plain_words) if at + 2 in plain_words and pieces[at + 1] == " "]
    if kinds & LOWER_CASE:
        pieces = [lower_case(piece) if at in plain_words else piece for at, piece in enumerate(pieces)]
    if kinds & NO_END_SIGN and last in plain_words:
        pieces[last] = pieces[last].rstrip(END_SIGNS)
    if kinds & DOUBLE_BLANK and gaps:
        pieces[gaps[int(share * len(gaps))]] = "  "
    return "".join(pieces)


def lower_case(word: str) -> str:
    """A word in lower case; names such as NASA or iPhone and letters that stand for something stay."""
    first, *other_letters = filter(str.isalpha, word)
    is_capitalised = first.isupper() and not any(map(str.isupper, other_letters))
    return word.lower() if is_capitalised and (other_letters or first == "I") else word
