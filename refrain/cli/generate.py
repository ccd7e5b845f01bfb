"""`refrain generate`: a file of prompts in, a file of replies out, by continuous batching."""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from refrain.chat.records import Message, Tool
from refrain.cli.options import add_generation_options, generation_config, positive_int
from refrain.data.shapes import tool_fields, turns
from refrain.data.shapes.errors import RowError

if TYPE_CHECKING:
    from refrain.generation.batch import PromptRow

HELP = "answer a file of prompts"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("generate", description=run.__doc__)
    add_generation_options(parser)
    add = parser.add_argument
    add("--input", default="-", metavar="FILE", help="JSON lines with a prompt or messages; -, the default: stdin")
    add("--output", default="-", metavar="FILE", help="JSON lines with id and reply; -, the default: stdout")
    add("--batch", type=positive_int, default=8, metavar="N", help="concurrent sequences, default: %(default)s")
    add("--beams", type=positive_int, default=1, metavar="N", help="beam search with N beams; 1, the default: none")
    add("--logprobs", type=int, default=0, metavar="N", help="log-probabilities of the N likeliest tokens at each step")
    add("--lookup", action="store_true", help="prompt-lookup decoding; works on one sequence at a time, see --batch")
    add("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Answer every line of a file, several at once; replies come in the order of the lines, each as if alone."""
    from refrain.generation import batch, chat_model

    if options.beams > 1 and (options.lookup or options.logprobs):
        raise ValueError("--beams: a beam search has neither --lookup nor --logprobs; leave them out")
    config = generation_config(options, options.logprobs)
    model = chat_model.load(options.model, config, options.threads, options.batch, options.lookup)
    with ExitStack() as files:
        lines = sys.stdin.buffer if options.input == "-" else files.enter_context(Path(options.input).open("rb"))
        output: TextIO = sys.stdout
        if options.output != "-":
            output = files.enter_context(Path(options.output).open("w", encoding="utf-8"))
        rows = read_prompts(lines, "stdin" if options.input == "-" else options.input, options.system)
        if options.beams > 1:
            results = batch.generate_with_beams(model, rows, options.beams)
        else:
            results = batch.generate(model, rows)
        for result in with_progress(results, options.quiet):
            print(json.dumps(result, ensure_ascii=False), file=output, flush=True)
    return 0


def read_prompts(lines: Iterable[str | bytes], name: str, system: str) -> Iterator["PromptRow"]:
    """One from each line that is not blank: {"prompt": text} or {"messages": [...]}, with an id and tools or without.

    ValueError names the line that is neither.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{place}: it is not JSON ({error}); write one object a line") from error
        messages, tools = prompt_messages(row, place), read_tools(row, place)
        if system and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": system}, *messages]
        prompt: PromptRow = {"id": row.get("id", number), "messages": messages}
        yield {**prompt, "tools": tools} if tools else prompt


def prompt_messages(row: Any, place: str) -> list[Message]:
    """The conversation that wants a reply."""
    match row:
        case {"prompt": str(text)}:
            return [{"role": "user", "content": text}]
        case {"messages": [*_, {"role": "user" | "tool"}]}:
            try:
                return turns.parse_turns(row, "messages")
            except RowError as error:
                raise ValueError(f"{place}: {error}") from error
        case {"messages": [*_, {"role": "assistant"}]}:
            raise ValueError(
                f"{place}: the assistant has the last word, so nothing is asked; end with a user's message"
            )
    raise ValueError(f'{place}: it asks nothing; write {{"prompt": "..."}} or '
                     '{"messages": [{"role": "user", "content": "..."}]}')  # fmt: skip


def read_tools(row: Any, place: str) -> list[Tool]:
    """What the assistant may call, in any form that training reads."""
    try:
        return tool_fields.parse_tool_columns(row, is_chat=True, read_columns=())
    except RowError as error:
        raise ValueError(f"{place}: {error}") from error


def with_progress(results: Iterable[dict[str, Any]], quiet: bool) -> Iterator[dict[str, Any]]:
    """The results as they come, with their number and rate on a terminal's stderr."""
    with tqdm(unit=" replies", disable=True if quiet else None, postfix={"tokens/s": 0}) as bar:
        begin, tokens = time.perf_counter(), 0
        for result in results:
            tokens += result["tokens"]
            bar.set_postfix({"tokens/s": round(tokens / (time.perf_counter() - begin))}, refresh=False)
            bar.update()
            yield result
