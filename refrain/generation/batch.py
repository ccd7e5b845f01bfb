"""Prompts in, rows of replies out: sequences enter and leave the model at every step."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from refrain.generation import beam_search, options
from refrain.generation.chat_model import ChatModel
from refrain.generation.model import Stream
from refrain.generation.prompt_rows import Prompt
from refrain.generation.sequence import Sequence
from refrain.runtime import detokenizer

TOO_LONG = "too long"  # why a prompt that is longer than the model can see gets no text


@dataclass
class Question:
    """A prompt, and its reply as it comes; none where it is too long."""

    prompt: Prompt
    stream: Stream | None

    def __post_init__(self) -> None:
        self.pieces = iter(self.stream or ())

    def has_ended(self) -> bool:
        return self.stream is None or self.stream.reply.has_ended()


def generate(model: ChatModel, prompts: Iterable[Prompt]) -> Iterator[dict[str, Any]]:
    """The reply to each prompt, in their order, each as soon as those before it are there.

    A prompt that is longer than the model can see gets no text, and TOO_LONG for a reason.
    """
    source, waiting = iter(prompts), deque[Question]()
    try:
        while True:
            running = [question for question in waiting if not question.has_ended()]
            if len(running) < model.model.max_num_seqs and (prompt := next(source, None)) is not None:
                waiting.append(Question(prompt, model.start(prompt.ids) if len(prompt.ids) < model.context else None))
            elif running:
                next(running[0].pieces, None)
            elif not waiting:
                return
            while waiting and waiting[0].has_ended():
                yield result_row(model, waiting.popleft())
    finally:
        for question in waiting:
            if question.stream is not None:
                question.stream.close()


def generate_with_beams(model: ChatModel, prompts: Iterable[Prompt], num_beams: int) -> Iterator[dict[str, Any]]:
    """The reply to each prompt that is likeliest as a sequence, by a beam search."""
    tokenizer, lm = model.tokenizer, model.model.open_lm()
    for prompt in prompts:
        max_new_tokens = min(model.max_new_tokens, model.context - len(prompt.ids))
        if max_new_tokens < 1:
            yield {"id": prompt.id, "reply": "", "reason": TOO_LONG, "tokens": 0}
            continue
        best, *_ = beam_search.beam_search(
            lm, prompt.ids, max_new_tokens, tokenizer.stop_ids, num_beams, length_penalty=1.0
        )
        stop_strings = (*tokenizer.stop_strings, *options.stop_strings(model.options))
        text = "".join(detokenizer.detokenize(best.ids, tokenizer.tokenizer, stop_strings))
        reason = "length" if len(best.ids) == max_new_tokens else "end"
        yield {"id": prompt.id, "reply": text, "reason": reason, "tokens": len(best.ids), "score": round(best.score, 4)}


def result_row(model: ChatModel, question: Question) -> dict[str, Any]:
    """What is written of a reply; ValueError where it could not go on."""
    if question.stream is None:
        return {"id": question.prompt.id, "reply": "", "reason": TOO_LONG, "tokens": 0}
    for _ in question.pieces:
        pass
    sequence = question.stream.reply.sequence
    result = {"id": question.prompt.id, "reply": sequence.text, "reason": sequence.finish_reason,
              "tokens": len(sequence.ids)}  # fmt: skip
    return result | ({"logprobs": list_logprobs(model, sequence)} if sequence.logprobs else {})


def list_logprobs(model: ChatModel, sequence: Sequence) -> list[dict[str, Any]]:
    """The log-probabilities of the likeliest tokens at each place, by the text of the tokens."""
    token_text = model.tokenizer.tokenizer.id_to_token
    return [
        {"token": token_text(token), "top": {token_text(other): round(value, 4) for other, value in found.top}}
        for token, found in zip(sequence.ids, sequence.logprobs, strict=True)
    ]
