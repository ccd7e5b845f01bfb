"""What `refrain audit` shows: the supervision audit of every file in data/prepared, as a table."""

from refrain.chat import encoding, examples, model_folder, records
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.examples import Example
from refrain.chat.records import Row
from refrain.experiments import text_tables
from refrain.pipeline import params, paths
from refrain.pipeline.schema import PreferenceConfig
from refrain.training.audit import faults, supervision
from refrain.training.audit.supervision import AuditResult
from refrain.training.objectives import pairs, unpaired

SPLITS = ("train", "val", "test")


def audit_report() -> tuple[str, bool]:
    """The table, with the first rows of what is wrong below it, and whether all is as it should be.

    ValueError when data/prepared or models/base is not there, or when the template cannot take the rows.
    """
    cfg = params.load([])
    files = {name: records.read_rows(paths.PREPARED / f"{name}.jsonl") for name in SPLITS}
    tokenizer, best = encoding.load_tokenizer(paths.BASE, cfg.template.jinja), paths.ONNX / paths.BEST
    tokenizer = encoding.ask_with_opening(tokenizer, files["train"] + files["val"])
    serving_tokenizer = (
        encoding.load_tokenizer(best) if best.is_dir() else supervision.read_served_tokenizer(paths.BASE, tokenizer)
    )
    max_tokens = min(cfg.data.max_tokens, model_folder.read_context_length(paths.BASE))
    results = {}
    for name, rows in files.items():
        supervision.require_teachable(tokenizer, rows)
        learned = learned_examples(tokenizer, rows, cfg.method.preference)
        results[name] = supervision.audit_examples(tokenizer, learned, max_tokens, serving_tokenizer)
    details = [
        sentence
        for name, result in results.items()
        for sentence in supervision.describe_faults(tokenizer, name, result)
    ]
    return "\n\n".join([audit_table(results), *details]), not details


def learned_examples(tokenizer: ChatTokenizer, rows: list[Row], preference: PreferenceConfig | None) -> list[Example]:
    """What a method with this preference learns of the rows."""
    if preference is None:
        good_rows, _ = records.split_bad_replies(rows)
        return [examples.example_of_all_replies(row, examples.encode_row(tokenizer, row)) for row in good_rows]
    if preference.loss == "kto":
        return unpaired.examples(rows, unpaired.encode_rows(tokenizer, rows)[0])
    return pairs.examples(rows, pairs.encode_rows(tokenizer, rows)[0])


def audit_table(results: dict[str, AuditResult]) -> str:
    """One aligned line for each fact and for each invariant, one column for each file."""
    columns = [result.facts for result in results.values()]
    lines = [
        ["", *results],
        ["rows", *(f"{column['rows']:,}" for column in columns)],
        ["tokens", *(f"{column['tokens']:,}" for column in columns)],
        ["trained tokens (loss mask)", *(f"{column['learned']:.1%}" for column in columns)],
        ["replies stripped by the template", *(f"{column['stripped']:,}" for column in columns)],
        ["earlier replies rewritten by the template", *(f"{column['rewritten']:,}" for column in columns)],
        ["unknown tokens in prompts", *(f"{column['unknown']:,}" for column in columns)],
    ]
    broken = [result.broken for result in results.values()]
    lines += [[meaning.invariant, *(fault_verdict(faulty.get(fault, [])) for faulty in broken)]
              for fault, meaning in faults.FAULTS.items()]  # fmt: skip
    return text_tables.number_table(lines)


def fault_verdict(broken: list[Example]) -> str:
    return f"{len({example.row_id for example in broken}):,} violated" if broken else "OK"
