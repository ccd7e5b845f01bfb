"""Proof that one model is another: the same logits and the same tokens in every execution mode.

The reference decodes every prompt once. From then on each model is fed what it said, so that a model's own choice is
known at every step, and the logits of a few prompts at a time are in memory.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Row
from refrain.evaluation import divergence, intervals, metrics, scoring
from refrain.evaluation.divergence import DivergenceStats, ExactModel
from refrain.evaluation.intervals import Interval
from refrain.pipeline import progress
from refrain.pipeline.export_schema import ExportConfig
from refrain.runtime import language_model
from refrain.runtime.language_model import LanguageModel, Logits

BATCH_BYTES = 2**27  # of logits that a batch is compared with
ALONE = 32  # rows that are also decoded alone, and prefilled in pieces, beside the edge cases
MAX_PROMPT = 1024  # tokens of the longest prompt, where the model sees more
RARE_CHARACTERS = "🙂🇧🇷 naïve Größe — ½ e\u0301 中文\t\n  «?»"  # emoji, accents, combining, wide, blanks


@dataclass
class ParityResult:
    """How far a model is from its reference on the tokens that the reference says after each prompt.

    Differences of logits are in standard deviations of the reference's logits at their position. Logits and greedy
    tokens are compared at every step, kl and top1 in replies to held-out rows: what a model says beyond their end, or
    to edge cases, nobody hears, and where rows are few it would be most of what is said.
    Of two tokens that are nearer to each other than what fp32 rounds, either may be chosen.
    """

    whole: float  # largest difference of a logit, sequences at once
    cached: float  # ... token by token on a cache
    batched: float  # ... token by token, in one batch of rows of different lengths
    chunked: float  # ... with the prompt in two pieces
    rounding: float  # ... of the reference from itself in float64, sequences at once
    mean: float  # mean difference of a logit, sequences at once
    kl: float  # mean Kullback-Leibler divergence from the reference's next token, in nats
    top1: float  # share of positions with the same likeliest token, in the worst of the modes
    greedy: float  # share of tokens up to the first that is another, alone or in a batch, whichever is less
    rouge: float  # ROUGE-L of its replies to held-out rows, from 0 to 1
    lost: float  # points of ROUGE-L, from 0 to 100, below the reference
    perplexity: float  # of the held-out replies
    prompts: int = 0  # held-out rows that rouge, lost and kl are means over
    tokens: int = 0  # of their replies, which top1 is a share of
    intervals: dict[str, Interval | None] = field(default_factory=dict)  # by measure: what chance explains; None: all


@dataclass(frozen=True)
class ParityPrompts:
    """What every model of a chain is asked, and what the reference said."""

    tokenizer: ChatTokenizer
    rows: list[Row]
    prompt_ids: list[list[int]]  # those of the rows come first
    replies: list[list[int]]
    texts: list[str]  # the reference's replies to the rows
    rouge: list[float]  # ROUGE-L of each of these
    rounding: float  # how far fp32 moves a logit of the reference, in standard deviations

    @property
    def tie(self) -> float:
        """How much the reference may prefer a token, in standard deviations, and a right model choose another."""
        return 2 * divergence.ROUNDINGS * self.rounding

    def is_alone(self, number: int) -> bool:
        """Whether a prompt is also decoded alone and prefilled in pieces: some rows, and all edge cases."""
        return number < ALONE or number >= len(self.rows)

    @property
    def positions(self) -> int:
        """How many tokens kl and top1 are taken of."""
        return sum(map(self.heard, range(len(self.rows))))

    def heard(self, number: int) -> int:
        """How many tokens of a reply to a row there are with the one that ends it, all where none does; else 0."""
        if number >= len(self.rows):
            return 0
        reply, stop_ids = self.replies[number], self.tokenizer.stop_ids
        return next((at + 1 for at, token in enumerate(reply) if token in stop_ids), len(reply))


def parity_prompts(
    reference: ExactModel, tokenizer: ChatTokenizer, rows: list[Row], context: int, export: ExportConfig
) -> ParityPrompts:
    """The first held-out prompts and the edge cases, with `steps` greedy tokens of the reference after each."""
    rows = scoring.rows_that_fit(tokenizer, rows, context, export.steps)[: export.prompts]
    if not rows:
        raise ValueError(
            f"export.steps={export.steps}: no held-out row leaves room for them in {context} tokens; take fewer"
        )
    prompt_ids = [encoding.encode_last_prompt(tokenizer, row) for row in rows]
    prompt_ids = [*prompt_ids, *edge_case_prompts(tokenizer, prompt_ids, min(context, MAX_PROMPT) - export.steps)]
    fitting = [prompt for prompt in prompt_ids if len(prompt) + export.steps <= context]
    replies = [[0]] * len(fitting)
    batches = batches_by_length(fitting, export.batch_size)
    for numbers in progress.with_progress(batches, "prompts", "merged: replies", len):
        batch = language_model.greedy_decode(reference, [fitting[at] for at in numbers], export.steps, frozenset())
        for number, reply in zip(numbers, batch, strict=True):
            replies[number] = reply
    texts = [scoring.reply_text(tokenizer, up_to_stop(reply, tokenizer.stop_ids)) for reply in replies[: len(rows)]]
    rounding = divergence.measure_rounding(reference, fitting).whole
    return ParityPrompts(tokenizer, rows, fitting, replies, texts, rouge(tokenizer, texts, rows), rounding)


def edge_case_prompts(tokenizer: ChatTokenizer, prompts: list[list[int]], max_length: int) -> Iterator[list[int]]:
    """A prompt of one token, one of rare characters, and one as long as the model can see."""
    yield prompts[0][:1]
    yield encoding.encode_prompt(tokenizer, [{"role": "user", "content": RARE_CHARACTERS}])
    joined = [token for prompt in prompts for token in prompt]
    yield (joined * (max_length // len(joined) + 1))[:max_length] if max_length > 0 else prompts[0]


def batches_by_length(prompts: list[list[int]], size: int) -> list[list[int]]:
    """The numbers of the prompts, `size` at a time, neighbours in length together: little is filled up."""
    return scoring.batches(sorted(range(len(prompts)), key=lambda number: len(prompts[number])), size)


def measure_parity(
    reference: LanguageModel,
    candidate: LanguageModel,
    prompts: ParityPrompts,
    export: ExportConfig,
    give_up: Callable[[DivergenceStats], None] | None = None,
) -> ParityResult:
    """Both models on the prompts and on what the reference said after them; `give_up` may raise after some of them."""
    stats = DivergenceStats(prompts.tie)
    greedy: dict[int, tuple[int, int]] = {}
    size = batch_size(export, prompts.tokenizer.tokenizer.get_vocab_size())
    batches = batches_by_length(prompts.prompt_ids, size)
    for numbers in progress.with_progress(batches, "prompts", "comparison with merged", len):
        greedy |= compare_batch(reference, candidate, prompts, numbers, stats)
        if give_up is not None:
            give_up(stats)
    texts = candidate_texts(candidate, prompts, [number for number in range(len(prompts.rows))
                                                 if greedy[number][1] < prompts.heard(number)], export)  # fmt: skip
    points = rouge(prompts.tokenizer, texts, prompts.rows)
    alone, together = zip(*greedy.values(), strict=True)
    leading_tokens = min(alone, together, key=sum)
    losses = [100 * (expected - actual) for expected, actual in zip(prompts.rouge, points, strict=True)]
    return ParityResult(
        **stats.largest,
        rounding=prompts.rounding,
        mean=stats.mean(),
        kl=stats.kl(),
        top1=stats.top1(),
        greedy=float(np.mean(leading_tokens)) / export.steps,
        rouge=metrics.mean(points),
        lost=100 * (metrics.mean(prompts.rouge) - metrics.mean(points)),
        perplexity=scoring.perplexity(candidate, prompts.tokenizer, prompts.rows),
        prompts=len(prompts.rows),
        tokens=prompts.positions,
        intervals={
            "top1": stats.top1_interval(),
            "kl": stats.kl_interval(),
            "greedy": intervals.student_interval([count / export.steps for count in leading_tokens]),
            "lost": intervals.student_interval(losses),
        },
    )


def batch_size(export: ExportConfig, vocabulary: int) -> int:
    """How many prompts are compared at once: at least two, and no more than logits may take memory."""
    return max(2, min(export.batch_size, BATCH_BYTES // (4 * export.steps * vocabulary)))


def compare_batch(
    reference: LanguageModel,
    candidate: LanguageModel,
    prompts: ParityPrompts,
    numbers: list[int],
    stats: DivergenceStats,
) -> dict[int, tuple[int, int]]:
    """Count the differences on some prompts; how many greedy tokens of each are the same, alone and in a batch."""
    greedy = {}
    asked, replies = ([each[number] for number in numbers] for each in (prompts.prompt_ids, prompts.replies))
    for number, batched in zip(numbers, teacher_forced_logits(candidate, asked, replies), strict=True):
        prompt, reply, heard = prompts.prompt_ids[number], prompts.replies[number], prompts.heard(number)
        logits = reply_logits(reference, prompt, reply)
        stats.add("whole", logits, reply_logits(candidate, prompt, reply), heard)
        alone = together = stats.add("batched", logits, batched, heard)
        if prompts.is_alone(number):
            stats.add("chunked", logits, reply_logits(candidate, prompt, reply, cut=len(prompt) // 2), heard)
            alone = stats.add("cached", logits, teacher_forced_logits(candidate, [prompt], [reply])[0], heard)
        greedy[number] = (leading(alone), leading(together))
    return greedy


def candidate_texts(
    candidate: LanguageModel, prompts: ParityPrompts, numbers: list[int], export: ExportConfig
) -> list[str]:
    """The replies to the rows: those of these numbers, decoded; all others are the reference's, token by token."""
    texts = list(prompts.texts)
    for batch in progress.with_progress(scoring.batches(numbers, export.batch_size), "rows", "replies", len):
        rows = [prompts.rows[number] for number in batch]
        replies = scoring.greedy_replies(candidate, prompts.tokenizer, rows, export.steps)
        for number, reply in zip(batch, replies, strict=True):
            texts[number] = reply
    return texts


def rouge(tokenizer: ChatTokenizer, texts: list[str], rows: list[Row]) -> list[float]:
    """ROUGE-L of the reply to each row."""
    references = [scoring.reference_text(tokenizer, row) for row in rows]
    return metrics.score_rows("rougeL", texts, references)


def up_to_stop(reply: list[int], stop_ids: frozenset[int]) -> list[int]:
    """The tokens before the one that ends a reply."""
    return list(itertools.takewhile(lambda token: token not in stop_ids, reply))


def leading(agreement: NDArray[np.bool_]) -> int:
    """How many positions agree before the first that does not."""
    return len(agreement) if agreement.all() else int(agreement.argmin())


def reply_logits(lm: LanguageModel, prompt: list[int], reply: list[int], cut: int = 0) -> Logits:
    """Logits [steps, vocabulary], each before a token of the reply; the first `cut` ids are put into a cache before."""
    ids = [*prompt, *reply[:-1]]
    if cut == 0:
        return divergence.sequence_logits(lm, ids, len(reply))
    row = np.array([ids], dtype=np.int64)
    mask = np.ones_like(row)
    _, cache = lm.forward(row[:, :cut], mask[:, :cut], None, 1)
    logits, _ = lm.forward(row[:, cut:], mask, cache, len(reply))
    return np.asarray(logits[0])


def teacher_forced_logits(lm: LanguageModel, prompts: list[list[int]], replies: list[list[int]]) -> Logits:
    """Logits [rows, steps, vocabulary] of a batch that is fed given replies of equal length, token by token."""
    ids, mask = language_model.left_pad(prompts)
    logits, cache = lm.forward(ids, mask, None, 1)
    result = np.empty((len(prompts), len(replies[0]), logits.shape[-1]), dtype=np.float32)
    result[:, 0] = logits[:, -1]
    for step, tokens in enumerate(zip(*(reply[:-1] for reply in replies), strict=True)):
        mask = language_model.extend_mask(mask)
        logits, cache = lm.forward(np.array(tokens, dtype=np.int64)[:, None], mask, cache, 1)
        result[:, step + 1] = logits[:, -1]
    return result
