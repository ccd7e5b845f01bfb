"""What a GGUF file is asked in llama.cpp, and what the merged model answers: computed once for all files."""

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message, Row, is_text_alone
from refrain.evaluation import divergence, parity
from refrain.evaluation.divergence import ExactModel
from refrain.pipeline import progress
from refrain.pipeline.export_schema import GgufConfig
from refrain.runtime.language_model import Logits, log_softmax

MAX_BYTES = 2**28  # of the reference's logits
MAX_TEXTS = 256  # held-out prompts whose tokens are compared
EDGE_POSITIONS = 8  # of a prompt that is an edge case, the last ones
ODD_TEXTS = (  # blanks that are not of ASCII stand within them: at an edge a template's trim takes them in Python alone
    "",
    " ",
    "  two  blanks   three ",
    "\n\n\nlines\r\nand\ttabs \t\n ",
    "don't I'M we'Ll O'Neill's 'tis",
    "1 12 123 1234567890 3.14159 1,000,000 ٣٤٥ ½ ²",
    "naïve Größe Ünïcödé ÀÉÎ ñ ł ß İ",
    "e\u0301 n\u0303 a\u030a\u0323",
    "中文字符 日本語テキスト 한국어 ไทย हिन्दी עברית العربية",
    "🙂🇧🇷👩\u200d👩\u200d👧 👍🏽 ☃\ufe0f",
    "no\u00a0break\u2003wide\u200bzero\u2028line\ufeffmark",
    "def f(x):\n    return {'a': [1, 2], \"b\": x != 0}  # ok\n",
    "<div class=\"x\">&amp;</div> $\\frac{1}{2}$ C:\\path\\n",
    "!!! ??? ... --- === *** ### ~~~ ___ @@@ %%%",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "<0x0A> [PAD0] ▁under▁ Ġ Ċ <unk> <s>",
    "ALLCAPS CamelCase snake_case kebab-case a.b.c http://x.y/z?q=1&r=2",
    "control\u0000characters\u0001in\u007fa\u0085text",
)  # fmt: skip


@dataclass(frozen=True)
class TokenSequence:
    """Ids, and after how many of them, from which to all, a next token is compared."""

    ids: list[int]
    first: int
    is_heard: bool  # whether they are a held-out row's: kl and top1 are taken of those alone

    @property
    def lengths(self) -> range:
        return range(self.first, len(self.ids) + 1)


@dataclass(frozen=True)
class Prompt:
    """A conversation, as text and as ids."""

    messages: list[Message]
    text: str
    ids: list[int]


@dataclass(frozen=True)
class Questions:
    sequences: list[TokenSequence]
    logits: list[Logits]  # log-probabilities of the merged model for each
    rounding: float  # how far fp32 moves a logit of it, in standard deviations
    row_prompts: list[Prompt]
    odd_prompts: list[Prompt]
    tokenizer: ChatTokenizer
    letter: int  # the id of a plain letter
    typed: int  # held-out prompts in which a person typed a control token: a GGUF file cannot tell it from a real one

    @property
    def vocabulary(self) -> int:
        return int(self.logits[0].shape[-1])

    @property
    def prompts(self) -> list[Prompt]:
        return self.row_prompts + self.odd_prompts


def ask_merged(
    reference: ExactModel, tokenizer: ChatTokenizer, rows: list[Row], context: int, gguf: GgufConfig
) -> Questions:
    """The first held-out rows, edge cases and odd texts, and what the merged model says to them."""
    vocabulary = divergence.sequence_logits(reference, [0], 1).shape[-1]
    most = max(1, min(gguf.prompts, MAX_BYTES // (4 * gguf.steps * vocabulary)))
    sequences = list_sequences(tokenizer, rows, context, most, gguf.steps)
    bar = progress.with_progress(sequences, "prompts", "merged: log-probabilities")
    logits = [
        log_softmax(divergence.sequence_logits(reference, each.ids, len(each.lengths))).astype(np.float32)
        for each in bar
    ]
    rounding = divergence.measure_rounding(reference, [each.ids for each in sequences]).whole
    messages = [row["messages"][:-1] for row in rows[:MAX_TEXTS] if is_plain(row)]
    prompts = list(list_prompts(tokenizer, messages))
    odd = list(list_prompts(tokenizer, [[Message(role="user", content=text)] for text in ODD_TEXTS]))
    (*_, letter) = tokenizer.tokenizer.encode("a", add_special_tokens=False).ids
    typed = len(messages) - len(prompts)
    return Questions(sequences, logits, rounding, prompts, odd, tokenizer, letter, typed)


def list_sequences(
    tokenizer: ChatTokenizer, rows: list[Row], context: int, most: int, steps: int
) -> list[TokenSequence]:
    """The replies of held-out rows, as far as `steps` goes, and edge cases; ValueError where no row fits."""
    result: list[TokenSequence] = []
    for row in rows:
        features = encoding.encode_conversation(tokenizer, row["messages"], row.get("tools"))
        ids, first = features["input_ids"], len(encoding.encode_last_prompt(tokenizer, row))
        if first + steps <= context and len(result) < most:
            result.append(TokenSequence(ids[: first + steps - 1], first, is_heard=True))
    if not result:
        raise ValueError(f"gguf.steps={steps}: no held-out row leaves room for them in {context} tokens; take fewer")
    asked = [each.ids[: each.first] for each in result]
    for ids in parity.edge_case_prompts(tokenizer, asked, min(context, parity.MAX_PROMPT) - 1):
        if len(ids) < context:
            result.append(TokenSequence(ids, max(1, len(ids) - EDGE_POSITIONS), is_heard=False))
    return result


def list_prompts(tokenizer: ChatTokenizer, conversations: list[list[Message]]) -> Iterator[Prompt]:
    """Prompts without a control token that somebody typed, in the normal form that the tokenizer makes of a text."""
    settings = json.loads(tokenizer.tokenizer.to_str())["normalizer"] or {}
    for messages in conversations:
        if settings.get("type") == "NFC":
            messages = [{**each, "content": unicodedata.normalize("NFC", each["content"])} for each in messages]
        text, typed = encoding.render_conversation(tokenizer, messages, add_generation_prompt=True)
        if not typed:
            yield Prompt(messages, text, encoding.encode_prompt(tokenizer, messages))


def is_plain(row: Row) -> bool:
    """Whether a prompt has texts alone, which any template can write."""
    return not row.get("tools") and all(map(is_text_alone, row["messages"]))
