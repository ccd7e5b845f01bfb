"""The supervision audit: before the first step, whether what is about to be learned is what the rows say."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer

from refrain.chat import encoding, model_folder, preview
from refrain.chat.control_characters import escape_controls
from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer
from refrain.chat.examples import Example
from refrain.chat.records import Message, Row, whole_text
from refrain.pipeline.plurals import format_count
from refrain.training.audit import checks
from refrain.training.audit.faults import FAULTS, Fault
from refrain.training.audit.template_outline import mark_words

log = logging.getLogger(__name__)
SHOWN = 3  # rows
Kind = tuple[object, ...]  # what rows have in common that a template takes alike
LONGEST = 1200  # characters of a conversation that is shown


@dataclass(frozen=True)
class AuditResult:
    """What is known of the conversations of one file, and those that are not learned as they should be."""

    facts: dict[str, float]
    broken: dict[Fault, list[Example]]


def require_teachable(tokenizer: ChatTokenizer, rows: Sequence[Row]) -> None:
    """ValueError with the first rows whose turns the template cannot take, or cannot teach."""
    errors: dict[Kind, str | None] = {}
    for row in rows:
        if (kind := kind_of(row)) not in errors:
            errors[kind] = find_template_error(tokenizer, row)
    wrong = [(row, error) for row in rows if (error := errors[kind_of(row)])]
    if wrong:
        texts = (f"{row['id']}\n{clip_text(render_plain(row['messages']))}" for row, _ in wrong[:SHOWN])
        raise ValueError(
            "\n\n".join([f"{wrong[0][1]}; so it is for {format_count(len(wrong), 'row')}, the first:", *texts])
        )


def kind_of(row: Row) -> Kind:
    """Who speaks, turn by turn, and what is there beside words."""
    return "tools" in row, *((message["role"], len(message.get("tool_calls", []))) for message in row["messages"])


def find_template_error(tokenizer: ChatTokenizer, row: Row) -> str | None:
    """Why no conversation of the same roles can be learned, if so."""
    messages: list[Message] = [
        mark_words(message, f"{message['role']} {turn}") for turn, message in enumerate(row["messages"], 1)
    ]
    try:
        encoding.encode_conversation(tokenizer, messages, row.get("tools"))
    except ValueError as error:
        return str(error)
    return None


def require_clean(
    tokenizer: ChatTokenizer, files: Mapping[str, Sequence[Example]], context_length: int, served: ChatTokenizer
) -> dict[str, dict[str, float]]:
    """The facts about each file; ValueError names the first invariant that is broken, and shows the first rows."""
    if not files["train"]:
        raise ValueError(f"data/prepared/train.jsonl: there is no row to train on, and "
                         f"{format_count(len(files['val']), 'row')} in val.jsonl; "
                         "reports/data.json counts where the rows of each source went")  # fmt: skip
    if not files["val"]:
        log.info("data/prepared/val.jsonl: there is no row to validate with, so no validation loss will tell")
    facts = {}
    for name, examples in files.items():
        result = audit_examples(tokenizer, examples, context_length, served)
        for text in describe_faults(tokenizer, name, result):
            raise ValueError(text)
        if rewritten := result.facts["rewritten"]:
            log.warning("data/prepared/%s.jsonl: in %d of %d rows the template rewrites earlier replies, which are not "
                        "learned; template=chatml learns all", name, rewritten, result.facts["rows"])  # fmt: skip
        facts[name] = result.facts
    return facts


def audit_examples(
    tokenizer: ChatTokenizer, examples: Sequence[Example], context_length: int, served: ChatTokenizer | None = None
) -> AuditResult:
    """Every conversation held against its row, and against how a model that is served would be asked."""
    context = checks.AuditContext(tokenizer, context_length, find_unknown_id(tokenizer.tokenizer))
    other = served if served and not is_same_tokenizer(tokenizer, served) else None
    broken: dict[Fault, list[Example]] = {}
    stripped, with_unknown, rewritten = set(), set(), set()
    learned_texts = preview.decode_spans(tokenizer, map(list_learned_ids, examples))
    for example, learned_text in zip(examples, learned_texts, strict=True):
        messages = example.messages[: example.learned_turns[-1]]
        prompt_ids = encoding.encode_prompt(tokenizer, messages, example.tools)
        finding = checks.check_example(context, example, learned_text, prompt_ids)
        is_served_otherwise = other is not None and prompts_differ(tokenizer, other, example, prompt_ids)
        if fault := finding.fault or ("served" if is_served_otherwise else None):
            broken.setdefault(fault, []).append(example)
        stripped |= {example.row_id} if finding.stripped else set()
        with_unknown |= {example.row_id} if finding.unknown else set()
        rewritten |= {example.row_id} if finding.rewritten else set()
    counts = {"stripped": len(stripped), "unknown": len(with_unknown), "rewritten": len(rewritten)}
    facts = {**count_tokens(examples), **counts}
    return AuditResult(facts, {fault: broken[fault] for fault in FAULTS if fault in broken})


def list_learned_ids(example: Example) -> list[int]:
    """The ids that have a label."""
    return list(compress(example.features["input_ids"], label_mask(example)))


def label_mask(example: Example) -> list[bool]:
    """Of each id, whether it has a label."""
    return [label != IGNORE_INDEX for label in example.features["labels"]]


def count_tokens(examples: Sequence[Example]) -> dict[str, float]:
    """How many rows and tokens there are, and what share of the tokens is learned."""
    tokens = sum(len(example.features["input_ids"]) for example in examples)
    labels = sum(sum(label_mask(example)) for example in examples)
    return {
        "rows": len({example.row_id for example in examples}),
        "tokens": tokens,
        "learned": labels / max(1, tokens),
    }


def describe_faults(tokenizer: ChatTokenizer, name: str, result: AuditResult) -> list[str]:
    """A sentence for each invariant that is broken, and below it the first rows with what they learn marked."""
    sentences = []
    for fault, examples in result.broken.items():
        meaning = FAULTS[fault]
        first_of_row = list({example.row_id: example for example in reversed(examples)}.values())[::-1]
        texts = (
            f"{example.row_id}\n{clip_text(preview.mark_labels(tokenizer, example.features))}"
            for example in first_of_row[:SHOWN]
        )
        where = f"data/prepared/{name}.jsonl: in {len(first_of_row):,} of {format_count(result.facts['rows'], 'row')}"
        sentences.append("\n\n".join([f"{where} {meaning.wrong}; {meaning.way_out}", *texts]))
    return sentences


def read_served_tokenizer(source: Path, tokenizer: ChatTokenizer) -> ChatTokenizer:
    """The tokenizer as it will be read where the model is served: from a folder of `copy_tokenizer`."""
    with TemporaryDirectory() as folder:
        model_folder.copy_tokenizer(source, Path(folder), tokenizer.template)
        return encoding.load_tokenizer(Path(folder))


def is_same_tokenizer(first: ChatTokenizer, second: ChatTokenizer) -> bool:
    """Whether two tokenizers write and read any conversation alike."""
    if first.template != second.template or first.special_tokens != second.special_tokens:
        return False
    return str(first.tokenizer.to_str()) == str(second.tokenizer.to_str())


def prompts_differ(tokenizer: ChatTokenizer, other: ChatTokenizer, example: Example, prompt_ids: list[int]) -> bool:
    """Whether the other tokenizer has another template, or makes other ids of the prompt of the last reply."""
    messages = example.messages[: example.learned_turns[-1]]
    return tokenizer.template != other.template or encoding.encode_prompt(other, messages, example.tools) != prompt_ids


def find_unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id that stands for what a tokenizer does not know, if it has one."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    return None if model.get("unk_token") is None else tokenizer.token_to_id(model["unk_token"])


def render_plain(messages: Sequence[Message]) -> str:
    return escape_controls("\n".join(f"{message['role']}: {whole_text(message)}" for message in messages))


def clip_text(text: str) -> str:
    """A text that fits on a screen: of a long one its two ends."""
    text, half = text.rstrip("\n"), LONGEST // 2
    if len(text) <= LONGEST:
        return text
    return f"{text[:half]}\n[... {len(text) - LONGEST:,} characters ...]\n{text[-half:]}"
