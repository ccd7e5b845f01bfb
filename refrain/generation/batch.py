"""Prompts in, rows of replies out: sequences enter and leave the model at every step."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from refrain.generation import beam_search, chat_model, engine
from refrain.generation.chat_model import ChatModel
from refrain.generation.prompt_rows import Prompt
from refrain.generation.sequence import Sequence
from refrain.runtime import detokenizer

TOO_LONG = "too long"  # why a prompt that is longer than the model can see gets no text


def generate(model: ChatModel, prompts: Iterable[Prompt]) -> Iterator[dict[str, Any]]:
    """The reply to each prompt, in their order, each as soon as those before it are there.

    A prompt that is longer than the model can see gets no text, and TOO_LONG for a reason.
    """
    waiting: deque[tuple[Prompt, Sequence]] = deque()

    def start_all() -> Iterator[Sequence]:
        for prompt in prompts:
            sequence = chat_model.start_sequence(model, prompt.ids)
            waiting.append((prompt, sequence))
            if len(sequence.prompt_ids) < model.context:
                yield sequence
            else:
                sequence.finish_reason = TOO_LONG

    for _ in engine.run(model.engine, start_all()):
        while waiting and waiting[0][1].finish_reason is not None:
            yield result_row(model, *waiting.popleft())
    yield from (result_row(model, *unfinished) for unfinished in waiting)


def generate_with_beams(model: ChatModel, prompts: Iterable[Prompt], num_beams: int) -> Iterator[dict[str, Any]]:
    """The reply to each prompt that is likeliest as a sequence, by a beam search."""
    config, tokenizer = model.config, model.tokenizer
    for prompt in prompts:
        max_new_tokens = min(config.max_new_tokens, model.context - len(prompt.ids))
        if max_new_tokens < 1:
            yield {"id": prompt.id, "reply": "", "reason": TOO_LONG, "tokens": 0}
            continue
        best, *_ = beam_search.beam_search(
            model.engine.lm, prompt.ids, max_new_tokens, tokenizer.stop_ids, num_beams, length_penalty=1.0
        )
        stop_strings = (*tokenizer.stop_strings, *config.stop_strings)
        text = "".join(detokenizer.detokenize(best.ids, tokenizer.tokenizer, stop_strings))
        reason = "length" if len(best.ids) == max_new_tokens else "end"
        yield {"id": prompt.id, "reply": text, "reason": reason, "tokens": len(best.ids), "score": round(best.score, 4)}


def result_row(model: ChatModel, prompt: Prompt, sequence: Sequence) -> dict[str, Any]:
    """What is written of a reply; log-probabilities, where they were wanted, by the text of their tokens."""
    result = {"id": prompt.id, "reply": sequence.text, "reason": sequence.finish_reason, "tokens": len(sequence.ids)}
    if sequence.logprobs:
        token_text = model.tokenizer.tokenizer.id_to_token
        result["logprobs"] = [
            {"token": token_text(token), "top": {token_text(other): round(value, 4) for other, value in found.top}}
            for token, found in zip(sequence.ids, sequence.logprobs, strict=True)
        ]
    return result
