"""A file of prompts in, a file of replies out: rows enter and leave the model at every step."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

from refrain.chat import encoding as chat
from refrain.chat.records import Message
from refrain.generation import beam_search as beam
from refrain.generation import chat_model as voice
from refrain.generation import engine
from refrain.generation.chat_model import Voice
from refrain.generation.sequence import Reply
from refrain.runtime import detokenizer as words


class Question(TypedDict):
    id: Any  # as the row has it; else the number of its line
    messages: list[Message]


def replies(speaker: Voice, rows: Iterable[Question]) -> Iterator[dict[str, Any]]:
    """What the model says to each question, in their order, each as soon as those before it are there.

    One whose prompt is longer than the model can see gets no words, and "too long" for a reason.
    """
    waiting: deque[tuple[Question, Reply]] = deque()

    def begun() -> Iterator[Reply]:
        for row in rows:
            reply = voice.begun(speaker, chat.encode_prompt(speaker.language, row["messages"]))
            waiting.append((row, reply))
            if len(reply.prompt) < speaker.context:
                yield reply
            else:
                reply.reason = "too long"

    for _ in engine.serve(speaker.engine, begun()):
        while waiting and waiting[0][1].reason is not None:
            yield outcome(speaker, *waiting.popleft())
    yield from (outcome(speaker, *left) for left in waiting)


def beamed(speaker: Voice, rows: Iterable[Question], width: int) -> Iterator[dict[str, Any]]:
    """The likeliest reply as a whole to each question, by a beam search."""
    terms, language = speaker.terms, speaker.language
    for row in rows:
        ids = chat.encode_prompt(language, row["messages"])
        limit = min(terms.limit, speaker.context - len(ids))
        best, *_ = beam.search(speaker.engine.lm, ids, limit, language.stop_ids, width, power=1.0)
        said = "".join(words.detokenize(best.ids, language.tokenizer, (*language.stop_strings, *terms.stops)))
        reason = "length" if len(best.ids) == limit else "end"
        yield {"id": row["id"], "reply": said, "reason": reason, "tokens": len(best.ids), "score": round(best.score, 4)}


def outcome(speaker: Voice, row: Question, reply: Reply) -> dict[str, Any]:
    """What is written of a reply; log-probabilities, where they were wanted, by the text of their tokens."""
    result = {"id": row["id"], "reply": reply.text, "reason": reply.reason, "tokens": len(reply.ids)}
    if reply.logprobs:
        name = speaker.language.tokenizer.id_to_token
        result["logprobs"] = [
            {"token": name(token), "top": {name(each): round(value, 4) for each, value in likeliest}}
            for token, likeliest in zip(reply.ids, reply.logprobs, strict=True)
        ]
    return result
