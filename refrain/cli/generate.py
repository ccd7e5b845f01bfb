"""`refrain generate`: a file of prompts in, a file of replies out, by continuous batching."""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from refrain.cli.options import add_generation_options, generation_options, positive_int, start_few_threads
from refrain.cli.quarantine import Quarantine
from refrain.cli.repository import typed_path

if TYPE_CHECKING:
    from refrain.generation.chat_model import ChatModel
    from refrain.generation.prompt_rows import Prompt

HELP = "answer a file of prompts"
STANDARD = Path("-")
HAS_BAD_LINES = 3  # the exit code when all is answered but some lines, which ask nothing


def add_parser(commands: Any) -> None:
    epilog = f"Exit code 0: every line is answered; {HAS_BAD_LINES}: all but those that ask nothing; 1: an error."
    parser = commands.add_parser("generate", description=run.__doc__, epilog=epilog)
    add_generation_options(parser)
    add = parser.add_argument
    add(
        "--input",
        type=typed_path,
        default=STANDARD,
        metavar="FILE",
        help="JSON lines with a prompt or messages; -, the default: stdin",
    )
    add(
        "--output",
        type=typed_path,
        default=STANDARD,
        metavar="FILE",
        help="JSON lines with id and reply; -, the default: stdout. Lines that ask nothing are put into "
        "NAME.quarantine.jsonl beside it, with number and reason; without a file they are named on stderr",
    )
    add("--batch", type=positive_int, default=8, metavar="N", help="concurrent sequences, default: %(default)s")
    add("--beams", type=positive_int, default=1, metavar="N", help="beam search with N beams; 1, the default: none")
    add("--logprobs", type=int, metavar="N", help="log-probabilities of the N likeliest tokens at each step")
    add("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Answer every line of a file, several at once; replies come in the order of the lines, each as if alone."""
    start_few_threads()
    from refrain.generation import chat_model, model_choice, prompt_rows

    if options.beams > 1 and (options.prompt_lookup_num_tokens or options.logprobs is not None):
        raise ValueError("--beams: a beam search has neither drafts nor --logprobs; leave them out")
    if options.input != STANDARD and options.output.exists() and options.output.samefile(options.input):
        raise ValueError(f"--output: {options.output} is the input too; name another file")
    config = generation_options(options, options.logprobs)
    folder = model_choice.choose_model(str(options.model))
    with ExitStack() as files:
        lines: BinaryIO = sys.stdin.buffer
        if options.input != STANDARD:
            lines = files.enter_context(options.input.open("rb"))
        model = chat_model.load(folder, config, options.threads, options.batch, options.prompt_lookup_num_tokens)
        output: TextIO = sys.stdout
        if options.output != STANDARD:
            output = files.enter_context(options.output.open("w", encoding="utf-8"))
        quarantine = files.enter_context(Quarantine(options.input, options.output))
        prompts = quarantine.keep_prompts(prompt_rows.read_prompts(lines, model.tokenizer, options.system))
        for result in with_progress(generate(model, prompts, options.beams), options.quiet):
            print(json.dumps(result, ensure_ascii=False), file=output, flush=True)
    return HAS_BAD_LINES if quarantine.count else 0


def generate(model: "ChatModel", prompts: "Iterable[Prompt]", beams: int) -> Iterator[dict[str, Any]]:
    """The reply to each prompt, in their order."""
    from refrain.generation import batch

    return batch.generate_with_beams(model, prompts, beams) if beams > 1 else batch.generate(model, prompts)


def with_progress(results: Iterable[dict[str, Any]], quiet: bool) -> Iterator[dict[str, Any]]:
    """The results as they come, with their number and rate on a terminal's stderr."""
    from tqdm import tqdm  # --help should not wait for it

    with tqdm(unit=" replies", disable=True if quiet else None, postfix={"tokens/s": 0}) as bar:
        begin, tokens = time.perf_counter(), 0
        for result in results:
            tokens += result["tokens"]
            bar.set_postfix({"tokens/s": round(tokens / (time.perf_counter() - begin))}, refresh=False)
            bar.update()
            yield result
