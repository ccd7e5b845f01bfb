"""Proof that one model is another: the same logits and the same tokens in every execution mode."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Row
from refrain.evaluation import divergence, scoring
from refrain.pipeline.schema import ExportConfig
from refrain.runtime import language_model
from refrain.runtime.language_model import LanguageModel, Logits

MAX_PROMPT = 1024  # tokens of the longest prompt, where the model sees more
RARE_CHARACTERS = "🙂🇧🇷 naïve Größe — ½ e\u0301 中文\t\n  «?»"  # emoji, accents, combining, wide, blanks


@dataclass
class ParityResult:
    """How far a model is from its reference on the tokens that the reference says after each prompt.

    Logits and greedy tokens are compared at every step, kl and top1 up to the end of a reply: what a model says beyond
    it nobody hears, and there the best two tokens are often as good as equal.
    """

    whole: float  # largest difference of a logit, sequences at once
    cached: float  # ... token by token on a cache
    batched: float  # ... token by token, in one batch of rows of different lengths
    chunked: float  # ... with the prompt in two pieces
    mean: float  # mean difference of a logit, sequences at once
    kl: float  # mean Kullback-Leibler divergence from the reference's next token, in nats
    top1: float  # share of positions with the same likeliest token, in the worst of the modes
    greedy: float  # share of equal tokens in greedy decoding, alone or in a batch, whichever is less
    rouge: float  # ROUGE-L of its replies to held-out rows, from 0 to 1
    lost: float  # points of ROUGE-L, from 0 to 100, below the reference
    perplexity: float  # of the held-out replies


@dataclass(frozen=True)
class ParityPrompts:
    """What every model of a chain is asked, and what the reference said."""

    tokenizer: ChatTokenizer
    rows: list[Row]
    prompt_ids: list[list[int]]
    replies: list[list[int]]
    rouge: float  # ROUGE-L of the reference's replies to the rows


def parity_prompts(
    reference: LanguageModel, tokenizer: ChatTokenizer, rows: list[Row], context: int, export: ExportConfig
) -> ParityPrompts:
    """The first held-out prompts and the edge cases, with `steps` greedy tokens of the reference after each."""
    rows = scoring.rows_that_fit(tokenizer, rows, context, export.steps)[: export.prompts]
    if not rows:
        raise ValueError(
            f"export.steps={export.steps}: no held-out row leaves room for them in {context} tokens; take fewer"
        )
    prompt_ids = [encoding.encode_prompt(tokenizer, row["messages"][:-1]) for row in rows]
    prompt_ids = [*prompt_ids, *edge_case_prompts(tokenizer, prompt_ids, min(context, MAX_PROMPT) - export.steps)]
    fitting = [prompt for prompt in prompt_ids if len(prompt) + export.steps <= context]
    replies = [
        reply
        for batch in scoring.batches(fitting, export.batch_size)
        for reply in language_model.greedy_decode(reference, batch, export.steps, frozenset())
    ]
    scores, _ = scoring.score_model(reference, tokenizer, rows, export.steps, export.batch_size)
    return ParityPrompts(tokenizer, rows, fitting, replies, scores["rougeL"])


def edge_case_prompts(tokenizer: ChatTokenizer, prompts: list[list[int]], max_length: int) -> Iterator[list[int]]:
    """A prompt of one token, one of rare characters, and one as long as the model can see."""
    yield prompts[0][:1]
    yield encoding.encode_prompt(tokenizer, [{"role": "user", "content": RARE_CHARACTERS}])
    joined = [token for prompt in prompts for token in prompt]
    yield (joined * (max_length // len(joined) + 1))[:max_length] if max_length > 0 else prompts[0]


def measure_parity(
    reference: LanguageModel, candidate: LanguageModel, prompts: ParityPrompts, export: ExportConfig
) -> ParityResult:
    """Both models on the prompts and on what the reference said after them."""
    stats = divergence.DivergenceStats()
    pairs = list(zip(prompts.prompt_ids, prompts.replies, strict=True))
    for batch in scoring.batches(pairs, export.batch_size):
        expected = [reply_logits(reference, prompt, reply) for prompt, reply in batch]
        batched = teacher_forced_logits(candidate, *zip(*batch, strict=True))
        for (prompt, reply), expected_logits, batched_logits in zip(batch, expected, batched, strict=True):
            length = length_up_to_stop(reply, prompts.tokenizer.stop_ids)
            alone = teacher_forced_logits(candidate, [prompt], [reply])[0]
            chunked = reply_logits(candidate, prompt, reply, cut=len(prompt) // 2)
            stats.add("whole", expected_logits, reply_logits(candidate, prompt, reply), length)
            stats.add("cached", expected_logits, alone, length)
            stats.add("batched", expected_logits, batched_logits, length)
            stats.add("chunked", expected_logits, chunked, length)
    scores, _ = scoring.score_model(candidate, prompts.tokenizer, prompts.rows, export.steps, export.batch_size)
    return ParityResult(
        **stats.largest,
        mean=stats.mean(),
        kl=stats.kl(),
        top1=stats.top1(),
        greedy=min(greedy_agreement(candidate, prompts, 1), greedy_agreement(candidate, prompts, export.batch_size)),
        rouge=scores["rougeL"],
        lost=100 * (prompts.rouge - scores["rougeL"]),
        perplexity=scores["perplexity"],
    )


def length_up_to_stop(reply: list[int], stop_ids: frozenset[int]) -> int:
    """How many tokens of a reply there are with the one that ends it; all where none does."""
    return next((at + 1 for at, token in enumerate(reply) if token in stop_ids), len(reply))


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


def teacher_forced_logits(
    lm: LanguageModel, prompts: Iterable[list[int]], replies: Iterable[list[int]]
) -> list[Logits]:
    """Logits [steps, vocabulary] for each row of a batch that is fed given replies of equal length, token by token."""
    ids, mask = language_model.left_pad(list(prompts))
    steps, cache = [], None
    for tokens in zip(*replies, strict=True):
        logits, cache = lm.forward(ids, mask, cache, 1)
        steps.append(logits[:, -1])
        ids = np.array(tokens, dtype=np.int64)[:, None]
        mask = language_model.extend_mask(mask)
    return list(np.stack(steps, axis=1))


def greedy_agreement(lm: LanguageModel, prompts: ParityPrompts, batch_size: int) -> float:
    """The share of the reference's tokens that a model says by itself, so many prompts at once."""
    replies = [
        reply
        for batch in scoring.batches(prompts.prompt_ids, batch_size)
        for reply in language_model.greedy_decode(lm, batch, len(prompts.replies[0]), frozenset())
    ]
    return float(np.mean(np.array(replies) == np.array(prompts.replies)))
