"""An exported model from Python: `refrain.load(folder)` gives one, and each method asks it for a reply or a number.

Threads and tasks may share a model; no reply changes another, and each has the bytes of server and commands.
"""

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self, Unpack

from refrain.chat import encoding
from refrain.chat.records import Tool
from refrain.chat.written_fields import TemplateFields
from refrain.generation import answer, conversations, options, prompt_rows, scoring, sessions, tool_calls
from refrain.generation.answer import Answer, TokenLogprob
from refrain.generation.conversations import Prompt
from refrain.generation.grammar import Grammar
from refrain.generation.options import Options
from refrain.generation.sessions import Runtime
from refrain.generation.shared_engine import Reply, SharedEngine
from refrain.generation.token_bytes import TokenBytes
from refrain.generation.tool_calls import CallForm
from refrain.pipeline import manifest, paths
from refrain.runtime.loading import Session

MAX_GRAMMARS = 32  # compiled ones that are kept
MAX_NUM_SEQS = 8  # replies that grow at once


class Stream:
    """A reply as it comes, for `for` and for `async for`; `answer` holds what has come."""

    def __init__(self, model: "Model", reply: Reply, tools: list[Tool] | None) -> None:
        self._model, self.reply, self._tools = model, reply, tools

    def __iter__(self) -> Iterator[str]:
        return iter(self.reply)

    def __aiter__(self) -> AsyncIterator[str]:
        return aiter(self.reply)

    def close(self) -> None:
        """End the reply now."""
        self.reply.cancel()

    @property
    def answer(self) -> Answer:
        """The whole reply once it has ended, what there is of it before."""
        return self._model.describe(self.reply, self._tools)


class Model:
    """An open model with its tokenizer; `close`, or the end of a `with` block, gives back what it holds."""

    def __init__(self, folder: Path, lm: Session, max_num_seqs: int, num_draft_tokens: int = 0) -> None:
        self.folder, self.context, self.tokenizer = folder, lm.context, encoding.load_tokenizer(folder)
        self.max_num_seqs = max_num_seqs
        self._engine = SharedEngine(lm, self.tokenizer, max_num_seqs, num_draft_tokens)
        self._fields = TemplateFields(self.tokenizer)
        self._compile = lru_cache(MAX_GRAMMARS)(self._compile_grammar)

    def chat(self, messages: Prompt, tools: list[Tool] | None = None, **given: Unpack[Options]) -> Answer:
        """The reply to a question or to the turns of a conversation."""
        return read_all(self.start(self.encode(messages, tools), given, tools))

    def stream(self, messages: Prompt, tools: list[Tool] | None = None, **given: Unpack[Options]) -> Stream:
        """The same, piece by piece."""
        started = self.start(self.encode(messages, tools), given, tools)
        started.reply.is_stream = True
        return started

    def batch(
        self, prompts: Iterable[Prompt], tools: list[Tool] | None = None, **given: Unpack[Options]
    ) -> list[Answer]:
        """The reply to each prompt, several at once, each as if it were asked alone."""
        streams = self._start_all(prompts, tools, given)
        try:
            return [read_all(stream) for stream in streams]
        finally:
            for stream in streams:
                stream.close()

    def complete(self, text: str, **given: Unpack[Options]) -> Answer:
        """What follows a text, without a template; control tokens in it are read as such."""
        return read_all(self.start(self.tokenize(text), given, is_chat=False))

    async def achat(self, messages: Prompt, tools: list[Tool] | None = None, **given: Unpack[Options]) -> Answer:
        """As `chat`, in an event loop."""
        return await aread_all(self.start(self.encode(messages, tools), given, tools))

    def astream(self, messages: Prompt, tools: list[Tool] | None = None, **given: Unpack[Options]) -> Stream:
        """As `stream`, for `async for`."""
        return self.stream(messages, tools, **given)

    async def abatch(
        self, prompts: Iterable[Prompt], tools: list[Tool] | None = None, **given: Unpack[Options]
    ) -> list[Answer]:
        """As `batch`, in an event loop."""
        import asyncio  # whoever awaits has it; a command is quicker without

        streams = self._start_all(prompts, tools, given)
        try:
            return list(await asyncio.gather(*map(aread_all, streams)))
        finally:
            for stream in streams:
                stream.close()

    async def acomplete(self, text: str, **given: Unpack[Options]) -> Answer:
        """As `complete`, in an event loop."""
        return await aread_all(self.start(self.tokenize(text), given, is_chat=False))

    def logprobs(
        self, messages: Prompt, reply: str, top: int = 0, tools: list[Tool] | None = None
    ) -> list[TokenLogprob]:
        """How likely each token of a given reply is after a prompt, with what ends it: all that training counts."""
        turns, _ = conversations.parse_prompt(messages, tools)
        row = encoding.encode_conversation(self.tokenizer, [*turns, {"role": "assistant", "content": reply}], tools)
        ids, found = scoring.score_reply(self.open_lm(), row, len(self.encode(turns, tools)), top)
        return answer.name_scores(self.tokens, ids, found)

    def score(self, messages: Prompt, reply: str, tools: list[Tool] | None = None) -> float:
        """The log-probability of a given reply as a whole."""
        return float(sum(token.logprob for token in self.logprobs(messages, reply, tools=tools)))

    def tokenize(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The ids of a text, without a template; it begins as the tokenizer lets texts begin, unless told not to."""
        return list(self.tokenizer.tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def detokenize(self, ids: list[int]) -> str:
        """The text of ids, control tokens too."""
        return str(self.tokenizer.tokenizer.decode(ids, skip_special_tokens=False))

    def encode(self, messages: Prompt, tools: list[Tool] | None = None) -> list[int]:
        """The ids after which the model speaks; control tokens that the messages hold are text."""
        turns, called = conversations.parse_prompt(messages, tools)
        if called and self.call_form is None and "tools" in self._fields.written:
            way_out = "leave them out"
            raise ValueError(f"tools: this model's template writes calls in a form that is not read back; {way_out}")
        return prompt_rows.encode_turns(self._fields, turns, called, "prompt")

    def close(self) -> None:
        """Give back what the model holds; replies that have not ended fail."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self, reply: Reply, tools: list[Tool] | None) -> Answer:
        """What a reply says so far, and what made it."""
        sequence, request = reply.sequence, reply.request
        usage = answer.count_tokens(sequence)
        content, calls = answer.read_calls(self.call_form if tools else None, tools, sequence.text)
        facts = {"max_tokens": request.max_new_tokens, "cached_tokens": usage.cached_tokens}
        return Answer(
            text=sequence.text,
            ids=sequence.ids,
            finish_reason=answer.FINISH_REASONS.get(sequence.finish_reason or "", "cancelled"),
            seed=request.sampling.seed,
            logprobs=None if request.logprobs is None else answer.name_logprobs(self.tokens, sequence),
            usage=usage,
            refrain={**self.facts, "seed": request.sampling.seed, **facts},
            content=content,
            tool_calls=calls,
        )

    @cached_property
    def tokens(self) -> TokenBytes:
        """The bytes of each token."""
        return TokenBytes(self.tokenizer.tokenizer)

    @cached_property
    def call_form(self) -> CallForm | None:
        """How the template writes calls of tools; None where they cannot be read back."""
        return tool_calls.find_call_form(self.tokenizer)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Which model it is: the sha256 of its folder, and its name among the variants."""
        variant = self.folder.name
        if variant == paths.BEST and (self.folder.parent / manifest.MANIFEST).is_file():
            variant = manifest.read_manifest(self.folder.parent).get("best", variant)
        return {"seal": manifest.content_hash(self.folder), "variant": variant}

    def start(
        self, ids: list[int], given: Options, tools: list[Tool] | None = None, is_chat: bool = True, typed: bool = False
    ) -> Stream:
        """The reply to ids that `encode` has given, or to any others; options of a command have the right types."""
        wanted = given if typed else options.check_options(given)
        grammar = self._compile(*options.grammar_source(wanted))
        request = options.make_request(self.tokenizer, self.context, ids, wanted, grammar, is_chat)
        return Stream(self, self._engine.add(request), tools)

    def check(self, given: Options) -> None:
        """ValueError where options of the right types have no meaning for this model."""
        options.sampling_params(given, self.tokenizer.tokenizer.get_vocab_size())
        self._compile(*options.grammar_source(given))

    def open_lm(self) -> Session:
        """What runs below the engine; ValueError when it is closed."""
        return self._engine.open_lm()

    def _start_all(self, prompts: Iterable[Prompt], tools: list[Tool] | None, given: Options) -> list[Stream]:
        """All replies, or none where one of them cannot be."""
        streams: list[Stream] = []
        try:
            for number, prompt in enumerate(prompts, 1):
                try:
                    streams.append(self.start(self.encode(prompt, tools), given, tools))
                except ValueError as error:
                    raise ValueError(f"prompt {number}: {error}") from error
        except BaseException:
            for stream in streams:
                stream.close()
            raise
        return streams

    def _compile_grammar(self, schema: str | None, regex: str | None) -> Grammar | None:
        if schema is None and regex is None:
            return None
        return Grammar(self.tokenizer, None if schema is None else json.loads(schema), regex)


def load(
    model: str | Path = paths.ONNX,
    backend: Runtime = "onnx",
    threads: int | None = None,
    device: str | None = None,
    max_num_seqs: int = MAX_NUM_SEQS,
    prompt_lookup_num_tokens: int = 0,
) -> Model:
    """The exported model in a folder, or the best of its variants; ValueError when there is none.

    With backend="pytorch" the merged model, on `device`, the fastest by default. `threads`: by default, all cores; of
    more replies than `max_num_seqs` others wait; at most `prompt_lookup_num_tokens` are drafted in a step.
    """
    for name, value in (("threads", threads), ("max_num_seqs", max_num_seqs)):
        if value is not None and value < 1:
            raise ValueError(f"{name}: {value} is out of range; give 1 or more")
    sessions.check_draft_tokens(drafts := prompt_lookup_num_tokens, backend)
    folder = sessions.choose_folder(str(model), backend)
    return Model(folder, sessions.open_session(folder, backend, threads, device), max_num_seqs, drafts)


def read_all(stream: Stream) -> Answer:
    """A reply once it has ended."""
    for _ in stream:
        pass
    return stream.answer


async def aread_all(stream: Stream) -> Answer:
    """The same in an event loop."""
    async for _ in stream:
        pass
    return stream.answer
