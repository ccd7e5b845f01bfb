"""`refrain generate`: a file of prompts in, a file of replies out; rows enter and leave the model at every step."""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from refrain.chat.records import Message
from refrain.cli.options import add_generation_options, generation_config, positive

if TYPE_CHECKING:
    from refrain.generation.batch import PromptRow

HELP = "answer a file of prompts"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("generate", description=run.__doc__)
    add_generation_options(parser)
    add = parser.add_argument
    add("--input", default="-", metavar="FILE", help="JSON lines with a prompt or messages; -, the default: stdin")
    add("--output", default="-", metavar="FILE", help="JSON lines with id and reply; -, the default: stdout")
    add("--batch", type=positive, default=8, metavar="N", help="replies that grow at once, default: %(default)s")
    add("--beams", type=positive, default=1, metavar="N", help="the likeliest reply as a whole, by a beam search")
    add("--logprobs", type=int, default=0, metavar="N", help="of each token, so many of the likeliest")
    add("--lookup", action="store_true", help="guess what was said before; for one reply at a time, see --batch")
    add("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Answer every line of a file, several at once; results come in the order of the lines, each as if alone."""
    from refrain.generation import batch, chat_model

    if options.beams > 1 and (options.lookup or options.logprobs):
        raise ValueError("--beams: a beam search has neither --lookup nor --logprobs; leave them out")
    wanted = generation_config(options, options.logprobs)
    speaker = chat_model.load(options.model, wanted, options.threads, options.batch, options.lookup)
    with ExitStack() as files:
        lines = sys.stdin.buffer if options.input == "-" else files.enter_context(Path(options.input).open("rb"))
        out = (
            sys.stdout
            if options.output == "-"
            else files.enter_context(Path(options.output).open("w", encoding="utf-8"))
        )
        asked = read_prompts(lines, "stdin" if options.input == "-" else options.input, options.system)
        said = (
            batch.generate_with_beams(speaker, asked, options.beams)
            if options.beams > 1
            else batch.generate(speaker, asked)
        )
        for result in with_progress(said, options.quiet):
            print(to_json_line(result), file=out, flush=True)
    return 0


def read_prompts(lines: Iterable[str | bytes], name: str, system: str) -> Iterator["PromptRow"]:
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
        messages = prompt_messages(row, at)
        if system and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": system}, *messages]
        yield {"id": row.get("id", number), "messages": messages}


def prompt_messages(row: Any, at: str) -> list[Message]:
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


def with_progress(results: Iterable[dict[str, Any]], quiet: bool) -> Iterator[dict[str, Any]]:
    """The results as they come, with their number and rate on a terminal's stderr."""
    with tqdm(unit=" replies", disable=True if quiet else None, postfix={"tokens/s": 0}) as bar:
        begin, tokens = time.perf_counter(), 0
        for result in results:
            tokens += result["tokens"]
            bar.set_postfix({"tokens/s": round(tokens / (time.perf_counter() - begin))}, refresh=False)
            bar.update()
            yield result


def to_json_line(result: dict[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False)
