"""Grammars of replies, compiled beside the event loop, and kept: the same schema comes with every request."""

import asyncio
import json
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.grammar import Grammar
from refrain.serving.api.response_format import GrammarSource, invalid_schema
from refrain.serving.models.model_pool import ServedModel

MOST_GRAMMARS = 64
LONGEST_SOURCE = 200_000  # characters
MOST_SECONDS = 10.0  # that a request waits for its grammar


class GrammarCache:
    """The grammars that were asked for last, by the model and what they were compiled from."""

    def __init__(self) -> None:
        self._grammars: OrderedDict[tuple[str, str, str], Grammar] = OrderedDict()
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="grammar")

    async def compile(self, model: ServedModel, source: GrammarSource) -> Grammar:
        """A grammar for replies of a model; ApiError 400 where it cannot be made, or not in time."""
        key = (model.seal, source.kind, source.text)
        if key in self._grammars:
            self._grammars.move_to_end(key)
            return self._grammars[key]
        if len(source.text) > LONGEST_SOURCE:
            raise invalid_schema(source.param, f"it has more than {LONGEST_SOURCE} characters; make it smaller")
        loop = asyncio.get_running_loop()
        compiling = loop.run_in_executor(self._executor, compile_source, model.backend.tokenizer, source)
        try:
            grammar = await asyncio.wait_for(asyncio.shield(compiling), MOST_SECONDS)
        except TimeoutError as error:
            raise invalid_schema(
                source.param, f"to compile it takes over {MOST_SECONDS:.0f} s; make it simpler"
            ) from error
        except (ValueError, RecursionError) as error:
            raise invalid_schema(source.param, str(error)) from error
        self._grammars[key] = grammar
        if len(self._grammars) > MOST_GRAMMARS:
            self._grammars.popitem(last=False)
        return grammar

    def close(self) -> None:
        """Compile nothing more."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def compile_source(tokenizer: ChatTokenizer, source: GrammarSource) -> Grammar:
    """The grammar; ValueError in llguidance's words where there is none."""
    match source.kind:
        case "schema":
            return Grammar(tokenizer, json.loads(source.text), None)
        case "regex":
            return Grammar(tokenizer, None, source.text)
    return Grammar(tokenizer, None, None, source.text)
