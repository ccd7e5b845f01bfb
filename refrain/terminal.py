"""A model at the terminal: a conversation, a single question, or a question on each line of a file."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from refrain import chat, decoding, runtime, sampling
from refrain.records import Message

HELP = """/reset        forget the conversation, keep the system prompt
/system TEXT  speak under another system prompt from now on; without TEXT under none
/help         this list
/quit         leave, as Ctrl-D does; Ctrl-C stops a reply"""


@dataclass(frozen=True)
class Manner:
    """How words are chosen, and where a reply ends at the latest."""

    temperature: float
    top_k: int
    top_p: float
    seed: int
    limit: int
    stops: tuple[str, ...]


@dataclass(frozen=True)
class Voice:
    """A model that is open and knows how to speak; the same turns get the same reply."""

    lm: decoding.LanguageModel
    language: chat.Chat
    context: int
    manner: Manner


def opened(folder: Path, manner: Manner, threads: int | None) -> Voice:
    """The model in a folder, ready to speak; ValueError when the folder or the manner is impossible."""
    sampling.check(manner.temperature, manner.top_k, manner.top_p)
    return Voice(runtime.Session(folder, threads), chat.load(folder), runtime.context(folder), manner)


def reply(voice: Voice, ids: list[int]) -> Iterator[str]:
    """Pieces of the reply to a prompt, each as soon as it is certain."""
    manner, language = voice.manner, voice.language
    choose = partial(
        sampling.choose,
        rng=np.random.default_rng(manner.seed),
        temperature=manner.temperature,
        top_k=manner.top_k,
        top_p=manner.top_p,
    )
    limit = min(manner.limit, voice.context - len(ids))
    tokens = decoding.stream(voice.lm, ids, limit, language.ends, choose)
    return decoding.text(tokens, language.tokenizer, (*language.stops, *manner.stops))


def fitted(voice: Voice, system: str, turns: list[Message]) -> tuple[list[Message], list[int]]:
    """The newest turns that leave room for a reply, and their ids; ValueError if the last is too long."""
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    room = min(voice.manner.limit, voice.context // 2)
    ids = chat.prompt(voice.language, [*before, *turns])
    while len(ids) + room > voice.context and len(turns) > 1:
        turns = turns[2:]  # a question and its reply: templates insist that a user speaks first
        ids = chat.prompt(voice.language, [*before, *turns])
    if len(ids) >= voice.context:
        raise ValueError(f"the question: {len(ids)} tokens, but the model sees {voice.context}; shorten it")
    return turns, ids


def answer(voice: Voice, system: str, question: str) -> Iterator[str]:
    """Pieces of the reply to a question that stands alone."""
    _, ids = fitted(voice, system, [{"role": "user", "content": question}])
    return reply(voice, ids)


def answers(voice: Voice, system: str, questions: Iterable[str]) -> Iterator[str]:
    """One line for each question, as if it were the only one; blank for a blank one."""
    for question in map(str.strip, questions):
        pieces = answer(voice, system, question) if question else iter([])
        yield " ".join("".join(pieces).split())


def converse(voice: Voice, system: str) -> None:
    """A conversation that lasts until /quit, Ctrl-D, or Ctrl-C while the person's turn is open."""
    with suppress(ImportError):  # there is none on Windows
        import readline  # noqa: F401 - gives input() its history; imported late, for it may write to the terminal
    turns: list[Message] = []
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            line = input("you> ").strip()
            match line.split(maxsplit=1):
                case []:
                    continue
                case ["/quit"]:
                    return
                case ["/help"]:
                    print(HELP)
                case ["/reset"]:
                    turns = []
                case ["/system", *text]:
                    system = "".join(text)
                case [word, *_] if word.startswith("/"):
                    print(f"{word} is no command; /help lists them")
                case _:
                    turns = exchange(voice, system, turns, line)
    print()


def exchange(voice: Voice, system: str, turns: list[Message], question: str) -> list[Message]:
    """The turns after a question and its reply; without both, and with a sentence, if it cannot be asked."""
    asked: list[Message] = [*turns, {"role": "user", "content": question}]
    try:
        kept, ids = fitted(voice, system, asked)
    except ValueError as error:
        print(error, file=sys.stderr)
        return turns
    if len(kept) < len(asked):
        print(f"(the context is full: the oldest {len(asked) - len(kept)} turns are forgotten)")
    return [*kept, {"role": "assistant", "content": shown(reply(voice, ids))}]


def shown(pieces: Iterable[str]) -> str:
    """Print a reply as it comes, until it ends or Ctrl-C ends it; what was said."""
    said = ""
    with suppress(KeyboardInterrupt):
        for piece in pieces:
            said += piece
            print(piece, end="", flush=True)
    print()
    return said
