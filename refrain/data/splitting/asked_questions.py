"""Questions that stand, whole, as a turn of another row, behind a greeting perhaps; or as the beginning of a chat."""

from dataclasses import dataclass

import numpy as np

from refrain.data.splitting import ragged
from refrain.data.splitting.ragged import Array, RaggedArray
from refrain.data.splitting.row_store import RowStore
from refrain.data.splitting.wordings import MIN_QUESTION_WORDS

MAX_COMMON = 10  # other prompts: a last question that more of them say is a phrase


@dataclass(frozen=True)
class AskedQuestions:
    """Questions of prompts, each with the prompts whose question it is and those that say it, ascending."""

    owners: RaggedArray
    sayers: RaggedArray
    own: RaggedArray  # of each prompt the questions that are its own
    said: RaggedArray  # and those that it says


def find_asked_questions(store: RowStore, of_row: Array, first_rows: Array, rows: Array) -> AskedQuestions:
    """What the prompts of these rows ask, and which of them say it; a prompt is a number for each row, and has a first
    row."""
    keys, owners, is_last = own_questions(store, first_rows, np.unique(of_row[rows]))
    wanted, question = np.unique(keys, return_inverse=True)
    said = find_keys(store, rows, wanted)
    said = unique_pairs(said[:, 0], of_row[rows][said[:, 1]])
    counts = np.bincount(said[:, 0], minlength=len(wanted))
    stays = ~is_last | (counts[question] - 1 <= MAX_COMMON)  # the owner says it too
    own = unique_pairs(question[stays], owners[stays])
    prompt_counts = np.bincount(unique_pairs(*np.concatenate([own, said]).T)[:, 0], minlength=len(wanted))
    is_shared = (prompt_counts > 1) & (np.bincount(own[:, 0], minlength=len(wanted)) > 0)
    number = np.cumsum(is_shared) - 1
    own, said = (np.stack([number[pairs[:, 0]], pairs[:, 1]], 1)[is_shared[pairs[:, 0]]] for pairs in (own, said))
    questions, prompts = int(is_shared.sum()), len(first_rows)
    return AskedQuestions(
        *(group_pairs(pairs, questions) for pairs in (own, said)),
        *(group_pairs(pairs[:, ::-1], prompts) for pairs in (own, said)),
    )


def own_questions(store: RowStore, first_rows: Array, prompts: Array) -> tuple[Array, Array, Array]:
    """The keys of what these prompts ask, whose each is, and whether it is the last question of a chat."""
    rows = first_rows[prompts]
    is_question = store["prompt_words"][rows] >= MIN_QUESTION_WORDS
    last = store["last_question"][rows]
    keys = np.concatenate([store["question"][rows][is_question], last[last != 0]])
    return keys, np.concatenate([prompts[is_question], prompts[last != 0]]), np.arange(len(keys)) >= is_question.sum()


def find_keys(store: RowStore, rows: Array, wanted: Array) -> Array:
    """Pairs of a wanted key, by its place, and a row that says it, by its own."""
    keys = store.ragged_column("turn_keys").select(rows)
    pairs = [np.zeros((0, 2), np.int64)]
    for batch in keys.batches(np.arange(len(rows))) if len(wanted) else ():
        said, lengths = keys.gather(batch)
        place = np.minimum(np.searchsorted(wanted, said), len(wanted) - 1)
        is_match = wanted[place] == said
        pairs.append(np.stack([place[is_match], np.repeat(batch, lengths)[is_match]], axis=1))
    return np.concatenate(pairs)


def unique_pairs(first: Array, second: Array) -> Array:
    """Each pair of numbers once, in order."""
    pairs = ragged.sorted_unique(first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)).astype(np.int64)
    return np.stack([pairs >> 32, pairs & (1 << 32) - 1], axis=1)


def group_pairs(pairs: Array, count: int) -> RaggedArray:
    """Of pairs in the order of their second numbers: for each first number the second ones."""
    order = np.argsort(pairs[:, 0], kind="stable")
    return ragged.from_lengths(pairs[order, 1], np.bincount(pairs[:, 0], minlength=count))


def rows_that_ask(store: RowStore, rows: Array, questions: Array) -> Array:
    """Those of the rows that say the question of one of the others."""
    keys, _, _ = own_questions(store, questions, np.arange(len(questions)))
    asking: Array = rows[np.unique(find_keys(store, rows, np.unique(keys))[:, 1])]
    return asking


def count_short_questions(store: RowStore, held_out: Array, train: Array) -> dict[int, int]:
    """Of held-out rows whose question has too few words to be looked for: how many training rows say it, if any do."""
    words = store["prompt_words"][held_out]
    held_out = held_out[(words > 0) & (words < MIN_QUESTION_WORDS) & ~store["is_chat"][held_out]]
    keys, place = np.unique(store["question"][held_out], return_inverse=True)
    said = find_keys(store, train, keys)
    counts = np.bincount(unique_pairs(said[:, 0], said[:, 1])[:, 0], minlength=len(keys))[place]
    return dict(zip(held_out[counts > 0].tolist(), counts[counts > 0].tolist(), strict=True))
