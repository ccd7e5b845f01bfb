"""What the reference says after the prompts of a proof: drafted by a faster model, and the reference's to the token."""

from collections.abc import Callable

from refrain.evaluation import comparison, scoring
from refrain.evaluation.comparison import Reference, Reply
from refrain.pipeline import progress
from refrain.pipeline.export_schema import ExportConfig
from refrain.runtime import language_model
from refrain.runtime.language_model import LanguageModel

LEAST = 16  # tokens of a reply that are compared, also where it ends before
Asked = tuple[list[list[int]], frozenset[int]]  # prompts, and the tokens that end a reply to them


def find_replies(
    reference: Reference, asked: list[Asked], export: ExportConfig, load_draft: Callable[[], LanguageModel] | None
) -> list[Reply]:
    """Greedy replies to all prompts, each up to its end: LEAST tokens at least, and `export.steps` at most.

    Any model may draft them: what the reference would say otherwise it decodes itself.
    """
    drafts: list[list[list[int]]] = [[] for _ in asked]
    if load_draft is not None:
        draft = load_draft()
        drafts = [decode(draft, each, batches_by_length(each[0], export.batch_size), export.steps, "drafts")
                  for each in asked]  # fmt: skip
        del draft  # one model in memory at a time
    return [reply for each, own in zip(asked, drafts, strict=True) for reply in confirm(reference, each, own, export)]


def confirm(reference: Reference, asked: Asked, drafts: list[list[int]], export: ExportConfig) -> list[Reply]:
    """The drafts of which each token is the reference's, and what it decodes where there is none."""
    prompts, stop_ids = asked
    replies: dict[int, Reply] = {}
    for number, tokens in enumerate(progress.with_progress(drafts, "prompts", "merged: drafts")):
        reply = comparison.read_reply(reference, prompts[number], tokens, count_heard(tokens, stop_ids))
        if comparison.says_itself(reference, reply):
            replies[number] = reply
    numbers = [number for number in range(len(prompts)) if number not in replies]
    left = [prompts[number] for number in numbers]
    batches = scoring.batches_alike(left, export.batch_size)
    decoded = decode(reference, (left, stop_ids), batches, export.steps, "merged: replies")
    for number, tokens in progress.with_progress(list(zip(numbers, decoded, strict=True)), "prompts", "merged: logits"):
        replies[number] = comparison.read_reply(reference, prompts[number], tokens, count_heard(tokens, stop_ids))
    return [replies[number] for number in range(len(prompts))]


def decode(lm: LanguageModel, asked: Asked, batches: list[list[int]], steps: int, title: str) -> list[list[int]]:
    """Greedy tokens of a model after each prompt: as many as are compared."""
    prompts, stop_ids = asked
    replies: dict[int, list[int]] = {}
    for numbers in progress.with_progress(batches, "prompts", title, len):
        batch = [prompts[at] for at in numbers]
        said = language_model.decode_until(lm, batch, steps, lambda reply: is_over(reply, stop_ids))
        replies.update(zip(numbers, said, strict=True))
    return [replies[number] for number in range(len(prompts))]


def is_over(reply: list[int], stop_ids: frozenset[int]) -> bool:
    """Whether a reply has ended, and LEAST tokens of it are there to be compared."""
    return len(reply) >= LEAST and not stop_ids.isdisjoint(reply)


def count_heard(reply: list[int], stop_ids: frozenset[int]) -> int:
    """How many tokens of a reply are heard, with the one that ends it; all where none does."""
    return next((at + 1 for at, token in enumerate(reply) if token in stop_ids), len(reply))


def batches_by_length(prompts: list[list[int]], size: int) -> list[list[int]]:
    """The numbers of the prompts in batches as even as can be, neighbours in length together: few are left alone."""
    numbers = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    count = -(-len(numbers) // max(2, size))
    return [numbers[len(numbers) * i // count : len(numbers) * (i + 1) // count] for i in range(count)]
