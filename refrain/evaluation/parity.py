"""Proof that one model is another: the same logits and the same words, however it is asked."""

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

LONGEST = 1024  # tokens of the longest prompt, where the model sees more


HARD = "🙂🇧🇷 naïve Größe — ½ e\u0301 中文\t\n  «?»"  # emoji, accents, combining, wide, blanks


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
    top1: float  # share of positions with the same likeliest token, in the worst of the ways
    greedy: float  # share of equal tokens in greedy decoding, alone or in a batch, whichever is less
    rouge: float  # ROUGE-L of its replies to held-out rows, from 0 to 1
    lost: float  # points of ROUGE-L, from 0 to 100, below the reference
    perplexity: float  # of the held-out replies


@dataclass(frozen=True)
class ParityPrompts:
    """What every model of a chain is asked, and what the reference said."""

    talk: ChatTokenizer
    rows: list[Row]
    prompts: list[list[int]]
    said: list[list[int]]
    rouge: float  # ROUGE-L of the reference's replies to the rows


def parity_prompts(
    reference: LanguageModel, talk: ChatTokenizer, rows: list[Row], context: int, export: ExportConfig
) -> ParityPrompts:
    """The first held-out prompts and the awkward ones, with `steps` greedy tokens of the reference after each."""
    rows = scoring.rows_that_fit(talk, rows, context, export.steps)[: export.prompts]
    if not rows:
        raise ValueError(
            f"export.steps={export.steps}: no held-out row leaves room for them in {context} tokens; take fewer"
        )
    asked = [encoding.encode_prompt(talk, row["messages"][:-1]) for row in rows]
    asked = [*asked, *edge_case_prompts(talk, asked, min(context, LONGEST) - export.steps)]
    fitting = [prompt for prompt in asked if len(prompt) + export.steps <= context]
    said = [
        reply
        for batch in scoring.batches(fitting, export.batch_size)
        for reply in language_model.greedy_decode(reference, batch, export.steps, frozenset())
    ]
    scores, _ = scoring.score_model(reference, talk, rows, export.steps, export.batch_size)
    return ParityPrompts(talk, rows, fitting, said, scores["rougeL"])


def edge_case_prompts(talk: ChatTokenizer, asked: list[list[int]], longest: int) -> Iterator[list[int]]:
    """A prompt of one token, one of rare characters, and one as long as the model can see."""
    yield asked[0][:1]
    yield encoding.encode_prompt(talk, [{"role": "user", "content": HARD}])
    whole = [token for prompt in asked for token in prompt]
    yield (whole * (longest // len(whole) + 1))[:longest] if longest > 0 else asked[0]


def measure_parity(
    reference: LanguageModel, candidate: LanguageModel, asked: ParityPrompts, export: ExportConfig
) -> ParityResult:
    """Both models on the prompts and on what the reference said after them."""
    count = divergence.DivergenceStats()
    pairs = list(zip(asked.prompts, asked.said, strict=True))
    for batch in scoring.batches(pairs, export.batch_size):
        right = [reply_logits(reference, prompt, reply) for prompt, reply in batch]
        together = teacher_forced_logits(candidate, *zip(*batch, strict=True))
        for (prompt, reply), logits, beside in zip(batch, right, together, strict=True):
            meant = next((at + 1 for at, token in enumerate(reply) if token in asked.talk.stop_ids), len(reply))
            count.add("whole", logits, reply_logits(candidate, prompt, reply), meant)
            count.add("cached", logits, teacher_forced_logits(candidate, [prompt], [reply])[0], meant)
            count.add("batched", logits, beside, meant)
            count.add("chunked", logits, reply_logits(candidate, prompt, reply, cut=len(prompt) // 2), meant)
    scores, _ = scoring.score_model(candidate, asked.talk, asked.rows, export.steps, export.batch_size)
    return ParityResult(
        **count.most,
        mean=count.mean(),
        kl=count.kl(),
        top1=count.top1(),
        greedy=min(greedy_agreement(candidate, asked, 1), greedy_agreement(candidate, asked, export.batch_size)),
        rouge=scores["rougeL"],
        lost=100 * (asked.rouge - scores["rougeL"]),
        perplexity=scores["perplexity"],
    )


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


def teacher_forced_logits(lm: LanguageModel, asked: Iterable[list[int]], said: Iterable[list[int]]) -> list[Logits]:
    """Logits [steps, vocabulary] for each row of a batch that is fed given replies of equal length, token by token."""
    ids, mask = language_model.left_pad(list(asked))
    steps, cache = [], None
    for tokens in zip(*said, strict=True):
        logits, cache = lm.forward(ids, mask, cache, 1)
        steps.append(logits[:, -1])
        ids = np.array(tokens, dtype=np.int64)[:, None]
        mask = language_model.extend_mask(mask)
    return list(np.stack(steps, axis=1))


def greedy_agreement(lm: LanguageModel, asked: ParityPrompts, batch_size: int) -> float:
    """The share of the reference's tokens that a model says by itself, so many prompts at once."""
    own = [
        reply
        for batch in scoring.batches(asked.prompts, batch_size)
        for reply in language_model.greedy_decode(lm, batch, len(asked.said[0]), frozenset())
    ]
    return float(np.mean(np.array(own) == np.array(asked.said)))
