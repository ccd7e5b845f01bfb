"""`refrain publish`: the artifact with its card, in a folder or in a repository of the Hub."""

import argparse
import logging
from pathlib import Path
from typing import Any

from refrain.cli import repository
from refrain.cli.repository import typed_path
from refrain.pipeline import paths, progress

HELP = "publish the model with its card, to the Hub or to a folder"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("publish", description=run.__doc__)
    parser.add_argument("destination", type=typed_destination, metavar="DESTINATION",
                        help="a repository of the Hub, user/name or hf://user/name, or a folder")  # fmt: skip
    parser.add_argument("--variants", type=split_names, default=paths.BEST, metavar="NAMES",
                        help="of models/onnx, with commas: best,int8; default: %(default)s")  # fmt: skip
    parser.add_argument("--merged", action="store_true", help="and models/merged, weights as transformers loads them")
    parser.add_argument("--gguf", action="store_true", help="and models/gguf, for llama.cpp and Ollama")
    parser.add_argument("--public", action="store_true", help="let everybody see the repository of the Hub")
    parser.add_argument("--allow-dirty", action="store_true", help="publish also what is not committed")
    parser.add_argument("--dry-run", action="store_true", help="list the files with their sizes, and change nothing")
    parser.set_defaults(run=run)


def typed_destination(text: str) -> tuple[str, Path]:
    """What was typed, and the folder that it is if it is one."""
    return text, typed_path(text)


def split_names(text: str) -> list[str]:
    """Names between commas, each once."""
    return list(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))


def run(options: argparse.Namespace) -> int:
    """Publish the exported model: the chosen variants, the model card with its scores, licenses and checksums.

    What is published passes `refrain check`. A token for the Hub comes from HF_TOKEN or `hf auth login`; a new
    repository is private.
    """
    repository.require_root("is published from")
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[progress.LineHandler()])
    logging.getLogger("refrain").setLevel(logging.INFO)
    from refrain.experiments.publishing import destination, folder, plan, state

    text, out = options.destination
    name = destination.hub_name(text, out)
    state.require_whole()
    further = [each for each, is_wanted in ((paths.MERGED, options.merged), (paths.GGUF, options.gguf)) if is_wanted]
    for each in further:
        state.require_beside(each)
    if not options.allow_dirty:
        state.require_committed([paths.ONNX, *further])
    fetch = destination.fetch_line(name)
    planned = plan.make_plan(options.variants, further, state.read_card(options.allow_dirty), fetch)
    if options.dry_run:
        print(plan.describe_plan(planned))
        return 0
    if name is None:
        place, is_new = str(out), folder.publish_folder(planned, out)
    else:
        from refrain.experiments.publishing import hub

        message = plan.commit_message(planned, state.describe_commit())
        place, is_new = hub.publish_to_hub(planned, name, message, options.public)
    print(f"{place}: {plan.describe_total(planned) if is_new else 'nothing to do, these files are there already'}")
    return 0
