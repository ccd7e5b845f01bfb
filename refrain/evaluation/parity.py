"""Proof that one model is another: the same logits and the same tokens in every execution mode.

What the reference says after each prompt is found once, and what its head reads at each step is kept: it decodes only
what a faster model has not drafted as it would say it itself. From then on each candidate is fed what it said, so that
a model's own choice is known at every step. What may refuse a candidate soonest comes first.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Row
from refrain.evaluation import comparison, divergence, intervals, metrics, reference_replies, scoring
from refrain.evaluation.comparison import Reference, Reply
from refrain.evaluation.divergence import DivergenceStats
from refrain.evaluation.intervals import Interval
from refrain.pipeline import progress
from refrain.pipeline.export_schema import ExportConfig
from refrain.runtime.language_model import LanguageModel

ALONE = 16  # rows that are also decoded alone, and prefilled in pieces, beside the edge cases
MAX_PROMPT = 1024  # tokens of the longest prompt, where the model sees more
GiveUp = Callable[[DivergenceStats], None]  # raises once a candidate cannot pass any more
RARE_CHARACTERS = "🙂🇧🇷 naïve Größe — ½ e\u0301 中文\t\n  «?»"  # emoji, accents, combining, wide, blanks


@dataclass
class ParityResult:
    """How far a model is from its reference on the tokens that the reference says after each prompt.

    Differences of logits are in standard deviations of the reference's logits at their position. Replies to held-out
    rows are compared up to their end, by logits and greedy tokens for LEAST tokens at least: what is said beyond it
    nobody hears. Nor what is said to edge cases, which are compared to the last step, but not in kl and top1.
    Of two tokens that are nearer to each other than what fp32 rounds, either may be chosen.
    """

    whole: float  # largest difference of a logit, sequences at once
    cached: float  # ... token by token on a cache
    batched: float  # ... token by token, in one batch of rows of different lengths
    chunked: float  # ... with the prompt in two pieces
    rounding: float  # ... of the reference from itself in float64, sequences at once
    mean: float  # mean difference of a logit, sequences at once
    kl: float  # mean Kullback-Leibler divergence from the reference's next token, in nats
    top1: float  # share of heard tokens with the same likeliest one, in the worst of the modes
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
    replies: list[Reply]  # to all of them
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
        return sum(reply.heard for reply in self.replies)


def parity_prompts(
    reference: Reference,
    tokenizer: ChatTokenizer,
    rows: list[Row],
    context: int,
    export: ExportConfig,
    load_draft: Callable[[], LanguageModel] | None = None,
) -> ParityPrompts:
    """The first held-out prompts and the edge cases, with up to `steps` greedy tokens of the reference after each.

    Any model may draft them: what the reference would say otherwise it decodes itself. After edge cases, where nobody
    hears when a reply ends, there are as many as `steps`.
    """
    rows = scoring.rows_that_fit(tokenizer, rows, context, export.steps)[: export.prompts]
    if not rows:
        raise ValueError(
            f"export.steps={export.steps}: no held-out row leaves room for them in {context} tokens; take fewer"
        )
    prompt_ids = [encoding.encode_last_prompt(tokenizer, row) for row in rows]
    edge_cases = edge_case_prompts(tokenizer, prompt_ids, min(context, MAX_PROMPT) - export.steps)
    fitting = [prompt for prompt in edge_cases if len(prompt) + export.steps <= context]
    asked = [(prompt_ids, tokenizer.stop_ids), (fitting, frozenset[int]())]
    replies = reference_replies.find_replies(reference, asked, export, load_draft)
    replies[len(rows) :] = [replace(reply, heard=0) for reply in replies[len(rows) :]]
    texts = [
        scoring.reply_text(tokenizer, up_to_stop(reply.tokens, tokenizer.stop_ids)) for reply in replies[: len(rows)]
    ]
    rounding = divergence.measure_rounding(
        reference, [reply.prompt for reply in replies], lambda at: reference.head_logits(replies[at].prompt_states)
    )
    return ParityPrompts(tokenizer, rows, replies, texts, rouge(tokenizer, texts, rows), rounding.whole)


def edge_case_prompts(tokenizer: ChatTokenizer, prompts: list[list[int]], max_length: int) -> Iterator[list[int]]:
    """A prompt of one token, one of rare characters, and one as long as the model can see."""
    yield prompts[0][:1]
    yield encoding.encode_prompt(tokenizer, [{"role": "user", "content": RARE_CHARACTERS}])
    joined = [token for prompt in prompts for token in prompt]
    yield (joined * (max_length // len(joined) + 1))[:max_length] if max_length > 0 else prompts[0]


def measure_parity(
    reference: Reference,
    candidate: LanguageModel,
    prompts: ParityPrompts,
    export: ExportConfig,
    give_up: GiveUp | None = None,
) -> ParityResult:
    """Both models on the prompts and on what the reference said after them; `give_up` may raise after some of them."""
    stats = DivergenceStats(prompts.tie)
    leading = compare_all(reference, candidate, prompts, export.batch_size, stats, give_up)
    other = [number for number in range(len(prompts.rows)) if leading[number][1] < prompts.replies[number].heard]
    texts = candidate_texts(candidate, prompts, other, export)
    points = rouge(prompts.tokenizer, texts, prompts.rows)
    shares = np.array(leading).T / [len(reply.tokens) for reply in prompts.replies]
    worst = min(shares.tolist(), key=sum)  # alone or in a batch, whichever is less
    losses = [100 * (expected - actual) for expected, actual in zip(prompts.rouge, points, strict=True)]
    return ParityResult(
        **stats.largest,
        rounding=prompts.rounding,
        mean=stats.mean(),
        kl=stats.kl(),
        top1=stats.top1(),
        greedy=float(np.mean(worst)),
        rouge=metrics.mean(points),
        lost=100 * (metrics.mean(prompts.rouge) - metrics.mean(points)),
        perplexity=scoring.perplexity(candidate, prompts.tokenizer, prompts.rows),
        prompts=len(prompts.rows),
        tokens=prompts.positions,
        intervals={
            "top1": stats.top1_interval(),
            "kl": stats.kl_interval(),
            "greedy": intervals.student_interval(worst),
            "lost": intervals.student_interval(losses),
        },
    )


def compare_all(
    reference: Reference,
    candidate: LanguageModel,
    prompts: ParityPrompts,
    size: int,
    stats: DivergenceStats,
    give_up: GiveUp | None,
) -> list[tuple[int, int]]:
    """Count all differences; how many greedy tokens of each reply are the same, alone and in a batch.

    Token by token comes last, for it takes longest and a candidate may be given up before.
    """
    replies, numbers = prompts.replies, range(len(prompts.replies))
    for number in progress.with_progress(numbers, "prompts", "comparison with merged"):
        comparison.compare_at_once(reference, candidate, replies[number], prompts.is_alone(number), stats)
        if give_up is not None:
            give_up(stats)
    leading: dict[int, tuple[int, int]] = {}
    rows, edge_cases = list(numbers[: len(prompts.rows)]), list(numbers[len(prompts.rows) :])
    batches = reference_replies.batches_by_length([replies[number].prompt for number in rows], size)
    # edge cases go on when the replies to rows have ended; a single row has no company but them
    batches = [*batches, edge_cases] if len(rows) > 1 else [[*rows, *edge_cases]]
    for batch in progress.with_progress(batches, "prompts", "comparison token by token", len):
        asked = [replies[number] for number in batch]
        alone = [at for at, number in enumerate(batch) if prompts.is_alone(number)]
        leading.update(zip(batch, comparison.compare_by_token(reference, candidate, asked, alone, stats), strict=True))
        if give_up is not None:
            give_up(stats)
    return [leading[number] for number in numbers]


def candidate_texts(
    candidate: LanguageModel, prompts: ParityPrompts, numbers: list[int], export: ExportConfig
) -> list[str]:
    """The replies to the rows: those of these numbers, decoded; all others are the reference's, token by token."""
    texts, asked = list(prompts.texts), [prompts.replies[number].prompt for number in numbers]
    for batch in progress.with_progress(scoring.batches_alike(asked, export.batch_size), "rows", "replies", len):
        replies = scoring.greedy_replies(candidate, prompts.tokenizer, [asked[at] for at in batch], export.steps)
        for at, reply in zip(batch, replies, strict=True):
            texts[numbers[at]] = reply
    return texts


def rouge(tokenizer: ChatTokenizer, texts: list[str], rows: list[Row]) -> list[float]:
    """ROUGE-L of the reply to each row."""
    references = [scoring.reference_text(tokenizer, row) for row in rows]
    return metrics.score_rows("rougeL", texts, references)


def up_to_stop(reply: list[int], stop_ids: frozenset[int]) -> list[int]:
    """The tokens before the one that ends a reply."""
    return list(itertools.takewhile(lambda token: token not in stop_ids, reply))
