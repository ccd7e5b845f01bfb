"""A file of prompts in, a file of replies out: rows enter and leave the model at every step."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

from refrain.chat import encoding
from refrain.chat.records import Message
from refrain.generation import beam_search, chat_model, engine
from refrain.generation.chat_model import ChatModel
from refrain.generation.sequence import Sequence
from refrain.runtime import detokenizer


class PromptRow(TypedDict):
    id: Any  # as the row has it; else the number of its line
    messages: list[Message]


def generate(speaker: ChatModel, rows: Iterable[PromptRow]) -> Iterator[dict[str, Any]]:
    """What the model says to each question, in their order, each as soon as those before it are there.

    One whose prompt is longer than the model can see gets no words, and "too long" for a reason.
    """
    waiting: deque[tuple[PromptRow, Sequence]] = deque()

    def begun() -> Iterator[Sequence]:
        for row in rows:
            reply = chat_model.start_sequence(speaker, encoding.encode_prompt(speaker.chat, row["messages"]))
            waiting.append((row, reply))
            if len(reply.prompt) < speaker.context:
                yield reply
            else:
                reply.finish_reason = "too long"

    for _ in engine.run(speaker.engine, begun()):
        while waiting and waiting[0][1].finish_reason is not None:
            yield result_row(speaker, *waiting.popleft())
    yield from (result_row(speaker, *left) for left in waiting)


def generate_with_beams(speaker: ChatModel, rows: Iterable[PromptRow], width: int) -> Iterator[dict[str, Any]]:
    """The likeliest reply as a whole to each question, by a beam search."""
    terms, language = speaker.terms, speaker.chat
    for row in rows:
        ids = encoding.encode_prompt(language, row["messages"])
        limit = min(terms.max_new_tokens, speaker.context - len(ids))
        best, *_ = beam_search.beam_search(speaker.engine.lm, ids, limit, language.stop_ids, width, power=1.0)
        said = "".join(
            detokenizer.detokenize(best.ids, language.tokenizer, (*language.stop_strings, *terms.stop_strings))
        )
        reason = "length" if len(best.ids) == limit else "end"
        yield {"id": row["id"], "reply": said, "reason": reason, "tokens": len(best.ids), "score": round(best.score, 4)}


def result_row(speaker: ChatModel, row: PromptRow, reply: Sequence) -> dict[str, Any]:
    """What is written of a reply; log-probabilities, where they were wanted, by the text of their tokens."""
    result = {"id": row["id"], "reply": reply.text, "reason": reply.finish_reason, "tokens": len(reply.ids)}
    if reply.logprobs:
        name = speaker.chat.tokenizer.id_to_token
        result["logprobs"] = [
            {"token": name(token), "top": {name(each): round(value, 4) for each, value in likeliest}}
            for token, likeliest in zip(reply.ids, reply.logprobs, strict=True)
        ]
    return result
