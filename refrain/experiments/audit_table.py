"""What `refrain audit` shows: the supervision audit of every file in data/prepared, as a table."""

from collections.abc import Sequence

from refrain.chat import encoding, examples, model_folder, records
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.examples import Example
from refrain.chat.records import Row
from refrain.experiments import text_tables
from refrain.pipeline import params, paths
from refrain.training.audit import faults, supervision
from refrain.training.audit.supervision import AuditResult
from refrain.training.objectives import pairs

SPLITS = ("train", "val", "test")


def audit_report() -> tuple[str, bool]:
    """The table, with the first rows of what is wrong below it, and whether all is as it should be.

    ValueError when data/prepared or models/base is not there, or when the template cannot take the rows.
    """
    cfg = params.load([])
    talk, best = encoding.load_tokenizer(paths.BASE, cfg.template.jinja), paths.ONNX / paths.BEST
    served = encoding.load_tokenizer(best) if best.is_dir() else supervision.served_chat(paths.BASE, talk)
    room = min(cfg.data.max_tokens, model_folder.read_context_length(paths.BASE))
    found = {}
    for name in SPLITS:
        rows = records.read_rows(paths.PREPARED / f"{name}.jsonl")
        supervision.require_teachable(talk, rows)
        taught = preference_examples(talk, rows) if cfg.method.preference else sft_examples(talk, rows)
        found[name] = supervision.audit_examples(talk, taught, room, served)
    wrong = [text for name, findings in found.items() for text in supervision.describe_faults(talk, name, findings)]
    return "\n\n".join([table(found), *wrong]), not wrong


def sft_examples(talk: ChatTokenizer, rows: Sequence[Row]) -> list[Example]:
    return [examples.example_of_all_replies(row, examples.encode_row(talk, row["id"], row["messages"])) for row in rows]


def preference_examples(talk: ChatTokenizer, rows: list[Row]) -> list[Example]:
    kept, _ = pairs.features(talk, rows)
    return pairs.examples(rows, kept)


def table(found: dict[str, AuditResult]) -> str:
    """One aligned line for each fact and for each invariant, one column for each file."""
    facts = [findings.facts for findings in found.values()]
    lines = [
        ["", *found],
        ["rows", *(f"{each['rows']:,}" for each in facts)],
        ["tokens", *(f"{each['tokens']:,}" for each in facts)],
        ["share that is learned", *(f"{each['learned']:.1%}" for each in facts)],
        ["replies stripped by the template", *(f"{each['stripped']:,}" for each in facts)],
        ["unknown tokens in prompts", *(f"{each['unknown']:,}" for each in facts)],
    ]
    broken = [findings.broken for findings in found.values()]
    lines += [[meaning.invariant, *(verdict(each.get(fault, [])) for each in broken)]
              for fault, meaning in faults.FAULTS.items()]  # fmt: skip
    return text_tables.number_table(lines)


def verdict(broken: list[Example]) -> str:
    return f"{len({lesson.row_id for lesson in broken}):,} violated" if broken else "OK"
