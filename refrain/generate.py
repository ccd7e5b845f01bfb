"""A file of prompts in, a file of replies out: rows enter and leave the model at every step."""

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

from tqdm import tqdm

from refrain import beam, chat, engine, voice, words
from refrain.records import Message
from refrain.reply import Reply
from refrain.voice import Voice


class Question(TypedDict):
    id: Any  # as the row has it; else the number of its line
    messages: list[Message]


def questions(lines: Iterable[str | bytes], name: str, system: str) -> Iterator[Question]:
    """One from each line that is not blank: {"prompt": text} or {"messages": [...]}, with an id or without.

    ValueError names the line that is neither.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        at = f"{name}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{at}: it is not JSON ({error}); write one object a line") from error
        messages = asked(row, at)
        if system and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": system}, *messages]
        yield {"id": row.get("id", number), "messages": messages}


def asked(row: Any, at: str) -> list[Message]:
    """The conversation that wants a reply."""
    match row:
        case {"prompt": str(text)}:
            return [{"role": "user", "content": text}]
        case {"messages": [*messages, {"role": "user", "content": str()} as last]} if all(map(is_message, messages)):
            return [*messages, last]
        case {"messages": [*_, {"role": "assistant"}]}:
            raise ValueError(f"{at}: the assistant has the last word, so nothing is asked; end with a user's message")
    raise ValueError(f'{at}: it asks nothing; write {{"prompt": "..."}} or '
                     '{"messages": [{"role": "user", "content": "..."}]}')  # fmt: skip


def is_message(value: Any) -> bool:
    match value:
        case {"role": "system" | "user" | "assistant", "content": str()}:
            return True
    return False


def replies(speaker: Voice, rows: Iterable[Question]) -> Iterator[dict[str, Any]]:
    """What the model says to each question, in their order, each as soon as those before it are there.

    One whose prompt is longer than the model can see gets no words, and "too long" for a reason.
    """
    waiting: deque[tuple[Question, Reply]] = deque()

    def begun() -> Iterator[Reply]:
        for row in rows:
            reply = voice.begun(speaker, chat.prompt(speaker.language, row["messages"]))
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
        ids = chat.prompt(language, row["messages"])
        limit = min(terms.limit, speaker.context - len(ids))
        best, *_ = beam.search(speaker.engine.lm, ids, limit, language.ends, width, power=1.0)
        said = "".join(words.text(best.ids, language.tokenizer, (*language.stops, *terms.stops)))
        reason = "length" if len(best.ids) == limit else "end"
        yield {"id": row["id"], "reply": said, "reason": reason, "tokens": len(best.ids), "score": round(best.score, 4)}


def shown(results: Iterable[dict[str, Any]], quiet: bool) -> Iterator[dict[str, Any]]:
    """The results as they come, with their number and rate on a terminal's stderr."""
    with tqdm(unit=" replies", disable=True if quiet else None, postfix={"tokens/s": 0}) as bar:
        begin, tokens = time.perf_counter(), 0
        for result in results:
            tokens += result["tokens"]
            bar.set_postfix({"tokens/s": round(tokens / (time.perf_counter() - begin))}, refresh=False)
            bar.update()
            yield result


def line(result: dict[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False)


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
