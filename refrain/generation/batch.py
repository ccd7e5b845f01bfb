"""Rows of prompts in, rows of replies out: sequences enter and leave the model at every step."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NotRequired, TypedDict

from refrain.chat import encoding, templates, tool_form
from refrain.chat.records import Message, Tool, is_text_alone
from refrain.chat.written_fields import TemplateFields
from refrain.generation import beam_search, chat_model, engine
from refrain.generation.chat_model import ChatModel
from refrain.generation.sequence import Sequence
from refrain.runtime import detokenizer


class PromptRow(TypedDict):
    id: Any  # as the row has it; else the number of its line
    messages: list[Message]
    tools: NotRequired[list[Tool]]


def generate(model: ChatModel, rows: Iterable[PromptRow]) -> Iterator[dict[str, Any]]:
    """The reply to each prompt, in their order, each as soon as those before it are there.

    A prompt that is longer than the model can see gets no text, and "too long" for a reason.
    """
    fields = TemplateFields(model.tokenizer)
    waiting: deque[tuple[PromptRow, Sequence]] = deque()

    def start_all() -> Iterator[Sequence]:
        for row in rows:
            sequence = chat_model.start_sequence(model, encode_prompt(fields, row))
            waiting.append((row, sequence))
            if len(sequence.prompt_ids) < model.context:
                yield sequence
            else:
                sequence.finish_reason = "too long"

    for _ in engine.run(model.engine, start_all()):
        while waiting and waiting[0][1].finish_reason is not None:
            yield result_row(model, *waiting.popleft())
    yield from (result_row(model, *unfinished) for unfinished in waiting)


def generate_with_beams(model: ChatModel, rows: Iterable[PromptRow], num_beams: int) -> Iterator[dict[str, Any]]:
    """The reply to each prompt that is likeliest as a sequence, by a beam search."""
    config, tokenizer, fields = model.config, model.tokenizer, TemplateFields(model.tokenizer)
    for row in rows:
        ids = encode_prompt(fields, row)
        max_new_tokens = min(config.max_new_tokens, model.context - len(ids))
        best, *_ = beam_search.beam_search(
            model.engine.lm, ids, max_new_tokens, tokenizer.stop_ids, num_beams, length_penalty=1.0
        )
        stop_strings = (*tokenizer.stop_strings, *config.stop_strings)
        text = "".join(detokenizer.detokenize(best.ids, tokenizer.tokenizer, stop_strings))
        reason = "length" if len(best.ids) == max_new_tokens else "end"
        yield {"id": row["id"], "reply": text, "reason": reason, "tokens": len(best.ids), "score": round(best.score, 4)}


def encode_prompt(fields: TemplateFields, row: PromptRow) -> list[int]:
    """The ids of a prompt; ValueError when the template would leave out its tools, or something else of it."""
    messages, tools = row["messages"], row.get("tools")
    if tools or not all(map(is_text_alone, messages)):
        messages = tool_form.complete_calls(fields.tokenizer.tool_form, messages, str(row["id"]))
        if fault := fields.find_fault([*messages, templates.REPLY], tools):
            raise ValueError(f"prompt {row['id']}: {fault.message}")
    return encoding.encode_prompt(fields.tokenizer, messages, tools)


def result_row(model: ChatModel, row: PromptRow, sequence: Sequence) -> dict[str, Any]:
    """What is written of a reply; log-probabilities, where they were wanted, by the text of their tokens."""
    result = {"id": row["id"], "reply": sequence.text, "reason": sequence.finish_reason, "tokens": len(sequence.ids)}
    if sequence.logprobs:
        token_text = model.tokenizer.tokenizer.id_to_token
        result["logprobs"] = [
            {"token": token_text(token), "top": {token_text(other): round(value, 4) for other, value in likeliest}}
            for token, likeliest in zip(sequence.ids, sequence.logprobs, strict=True)
        ]
    return result
