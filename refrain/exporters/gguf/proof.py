"""Proof that a GGUF file is the merged model: llama.cpp's log-probabilities of all tokens, its ids and its prompts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from refrain.chat.encoding import ChatTokenizer
from refrain.evaluation import divergence
from refrain.evaluation.divergence import DivergenceStats
from refrain.evaluation.intervals import Interval
from refrain.evaluation.verdict import Measure
from refrain.exporters.architectures.llama_cpp import Graph
from refrain.exporters.gguf import llama_client, llama_server, vocabulary
from refrain.exporters.gguf.questions import Prompt, Questions
from refrain.pipeline import progress
from refrain.pipeline.export_schema import GgufThresholds

FLOOR = -80.0  # log-probabilities below it are none in llama.cpp, which makes them of fp32 probabilities
TABLE_SLACK = 10.0  # for ggml's GELU, which it looks up in a table of fp16
ROOM = 8  # tokens of the server's context beside those that it is asked


@dataclass(frozen=True)
class FileProof:
    """How far a file in llama.cpp is from the merged model in PyTorch, logits in standard deviations."""

    whole: float  # largest difference of a logit
    mean: float
    kl: float  # mean Kullback-Leibler divergence from the merged model's next token, in nats
    top1: float  # share of positions with the same likeliest token
    rounding: float  # of the merged model from itself in float64
    limit: float | None  # that `whole` is held to: what conf/ says, and what fp32 and ggml's table round
    tokens: int  # that kl and top1 are taken of
    texts: float  # share of texts of which llama.cpp makes the prompt and the ids that the model was trained on
    other_texts: list[str] = field(default_factory=list)  # those of which it does not, the first few
    unrendered: int = 0  # texts whose template llama.cpp cannot render, compared by ids alone
    ends: str = ""  # what is wrong with the tokens that begin and end a text
    intervals: dict[str, Interval | None] = field(default_factory=dict)


def prove_file(path: Path, questions: Questions, graph: Graph, thresholds: GgufThresholds) -> FileProof:
    """What llama.cpp says to the questions, in a process of its own; ValueError where it does not open the file."""
    limit = loosen(thresholds.relative_logits, questions.rounding, graph)
    tie = max(2 * divergence.ROUNDINGS * questions.rounding, 2 * (limit or 0.0))
    stats = DivergenceStats(tie)
    longest = max(len(each.ids) for each in questions.sequences)
    with llama_server.run_server(path, "--fp32", "--slots", "1", "--context", str(longest + ROOM)) as url:
        ends = check_ends(llama_client.read_properties(url), questions.tokenizer)
        others, unrendered = compare_prompts(url, questions.prompts)
        pairs = list(zip(questions.sequences, questions.logits, strict=True))
        for sequence, expected in progress.with_progress(pairs, "prompts", f"{path.name} in llama.cpp"):
            actual = np.stack([
                llama_client.log_probabilities(url, sequence.ids[:length], questions.vocabulary, questions.letter)
                for length in sequence.lengths
            ])  # fmt: skip
            heard = len(expected) if sequence.is_heard else 0
            stats.add("whole", np.maximum(expected, FLOOR), np.maximum(actual, FLOOR), heard)
    return FileProof(
        whole=stats.largest["whole"],
        mean=stats.mean(),
        kl=stats.kl(),
        top1=stats.top1(),
        rounding=questions.rounding,
        limit=limit,
        tokens=len(stats.kl_divergences),
        texts=1 - len(others) / len(questions.prompts),
        other_texts=others[:5],
        unrendered=unrendered,
        ends=ends,
        intervals={"top1": stats.top1_interval(), "kl": stats.kl_interval()},
    )


def describe(proof: FileProof) -> str:
    """What was measured, in a line."""
    return (f"in llama.cpp its logits are {proof.whole:.2g} standard deviations from the merged model's, its next "
            f"tokens {proof.kl:.2g} nats, {proof.top1:.1%} of {proof.tokens} are the same, and so are the tokens of "
            f"{proof.texts:.1%} of the texts")  # fmt: skip


def loosen(limit: float | None, rounding: float, graph: Graph) -> float | None:
    """A limit of logits, and how far it gives way to what fp32 rounds in this model and ggml in its table."""
    if limit is None:
        return None
    slack = divergence.rounding_slack(limit, rounding)
    return limit * max(slack, 1.0 if "silu" in graph.activations else TABLE_SLACK)


def compare_prompts(url: str, prompts: list[Prompt]) -> tuple[list[str], int]:
    """What somebody says in each prompt that llama.cpp makes otherwise, and how many it cannot render."""
    others, unrendered = [], 0
    for prompt in prompts:
        rendered = llama_client.apply_template(url, prompt.messages)
        unrendered += rendered is None
        if rendered not in (None, prompt.text) or llama_client.tokenize(url, prompt.text) != prompt.ids:
            others.append(prompt.messages[-1]["content"])
    return others, unrendered


def check_ends(properties: dict[str, Any], tokenizer: ChatTokenizer) -> str:
    """A sentence where llama.cpp ends a text with another token than the template, or has another template."""
    stops = vocabulary.list_stops(tokenizer)
    expected = tokenizer.tokenizer.id_to_token(stops[0]) if stops else None
    if expected is not None and properties["eos_token"] != expected:
        return f"llama.cpp ends a text with {properties['eos_token']!r}, the chat template with {expected!r}"
    bos = tokenizer.special_tokens.get("bos_token")
    if bos is not None and properties["bos_token"] != bos:
        return f"llama.cpp begins a text with {properties['bos_token']!r}, the tokenizer with {bos!r}"
    is_same = properties["chat_template"].rstrip("\n") == vocabulary.stop_clock(tokenizer.template).rstrip("\n")
    return "" if is_same else "llama.cpp has another chat template"


@dataclass(frozen=True)
class FileVerdict:
    """What the measures of a file say of its thresholds, a sentence each."""

    fails: list[str]
    missed: list[str]  # within what chance explains


def judge_file(kind: str, thresholds: GgufThresholds, proof: FileProof) -> FileVerdict:
    """Every threshold against its measure; nan reaches none."""
    key = f"gguf.thresholds.{kind}"
    measures = list(read_measures(key, thresholds, proof))
    certain = [each.sentence for each in measures if each.is_certain and not each.is_reached]
    missed = [each.sentence for each in measures if not each.is_certain and not each.is_reached]
    fails = [*find_faults(key, thresholds, proof), *certain]
    return FileVerdict([f"{kind}: {each}" for each in fails], [f"{kind}: {each}" for each in missed])


def find_faults(key: str, thresholds: GgufThresholds, proof: FileProof) -> Iterator[str]:
    """A sentence for each measure that chance does not excuse."""
    limit = inf if proof.limit is None else proof.limit
    if not (proof.whole <= limit and proof.whole < inf):
        yield (f"its logits in llama.cpp differ from the merged model's by {proof.whole:.2g} standard deviations, "
               f"{key}.relative_logits allows {limit:.2g} here")  # fmt: skip
    if not proof.texts >= thresholds.texts:
        first = json.dumps(proof.other_texts[0], ensure_ascii=False)[:80]
        yield (f"llama.cpp reads {1 - proof.texts:.1%} of the texts otherwise than the model was trained, "
               f"{key}.texts wants {thresholds.texts:.1%} right; the first is {first}")  # fmt: skip
    if proof.ends:
        yield proof.ends


def read_measures(key: str, thresholds: GgufThresholds, proof: FileProof) -> Iterator[Measure]:
    """The measures that are drawn, and so known up to an interval."""
    interval = proof.intervals["top1"] or (0.0, 1.0)
    sentence = (f"{proof.top1:.1%} of its {proof.tokens} top1 tokens are the merged model's, "
                f"{key}.top1 wants {thresholds.top1:.1%}")  # fmt: skip
    yield Measure(sentence, proof.top1, thresholds.top1, interval, is_share=True)
    if thresholds.kl is not None:
        interval = proof.intervals["kl"] or (-inf, inf)
        sentence = (f"its next tokens diverge from the merged model's by {proof.kl:.2g} nats, "
                    f"{key}.kl allows {thresholds.kl:g}")  # fmt: skip
        yield Measure(sentence, proof.kl, thresholds.kl, interval, is_share=False)
