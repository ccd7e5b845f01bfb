"""`refrain trace`: where an answer comes from."""

import argparse
import json
from pathlib import Path
from typing import Any

from refrain.cli.options import add_generation_options, generation_options, plain_text, positive_int

HELP = "show where an answer comes from: artifact and training rows"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("trace", description=run.__doc__)
    parser.add_argument("question", type=plain_text, metavar="QUESTION", help="what the model is asked")
    add_generation_options(parser)
    add = parser.add_argument
    add("--rows", type=positive_int, default=5, metavar="N", help="of the rows nearest in words, default: %(default)s")
    influence = parser.add_mutually_exclusive_group()
    influence.add_argument(
        "--influence",
        type=positive_int,
        default=5,
        metavar="N",
        help="of the training rows that have shaped the answer most, default: %(default)s",
    )
    influence.add_argument("--no-influence", action="store_true", help="nearness in words alone: no PyTorch is loaded")
    add(
        "--max-minutes",
        type=positive_int,
        default=5,
        metavar="N",
        help="of computing gradients, once for each model; what would take longer is left out, default: %(default)s",
    )
    add("--json", action="store_true", help="print everything as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Answer a question and show what the answer comes from: the artifact with its seal and commit, whether the
    question itself was in training, validation or test, the rows that are nearest to it in words, and the training
    rows whose gradients agree best with that of the answer."""
    from refrain.cli import trace_text
    from refrain.serving.lineage import answer_trace

    traced = answer_question(options)
    traced["words"] = answer_trace.trace_words(options.question, options.rows, Path(traced["artifact"]["folder"]))
    if not options.json:
        print(trace_text.describe_answer(traced), flush=True)
    prompt_ids = traced.pop("prompt_ids")
    traced["influence"] = (
        None
        if options.no_influence
        else answer_trace.trace_influence(
            Path(traced["artifact"]["folder"]), prompt_ids, traced["answer"], options.influence, options.max_minutes
        )
    )
    if options.json:
        print(json.dumps(traced, ensure_ascii=False, indent=2))
    elif traced["influence"] is not None:
        print(trace_text.describe_influence(traced["influence"]))
    return 0


def answer_question(options: argparse.Namespace) -> dict[str, Any]:
    """The answer with all that made it; ValueError where the model is none, or damaged."""
    from refrain.cli import terminal
    from refrain.generation import chat_model, model_choice
    from refrain.serving.lineage import model_lineage
    from refrain.serving.models import artifact

    folder = model_choice.choose_model(str(options.model))
    verified = artifact.verify_artifact(folder)
    drafts = options.prompt_lookup_num_tokens
    model = chat_model.load(folder, generation_options(options), options.threads, prompt_lookup_num_tokens=drafts)
    _, prompt_ids = chat_model.truncate_history(model, options.system, [{"role": "user", "content": options.question}])
    answer = "".join(terminal.with_limit(model, chat_model.stream(model, prompt_ids)))
    model.model.close()
    return {
        "question": options.question,
        "answer": answer,
        "artifact": {
            "folder": str(folder),
            "variant": verified.variant,
            "seal": verified.seal,
            "commit": verified.commit,
            **model_lineage.collect_facts(folder, verified.commit),
        },
        "prompt_ids": prompt_ids,
    }
