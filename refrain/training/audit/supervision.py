"""The supervision audit: before the first step, whether what is about to be learned is what the rows say."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer

from refrain.chat import encoding, model_folder, preview
from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer
from refrain.chat.examples import Example
from refrain.chat.records import Message, Row
from refrain.training.audit import checks
from refrain.training.audit.faults import FAULTS, Fault

SHOWN = 3


LONGEST = 1200  # characters of a conversation that is shown


@dataclass(frozen=True)
class AuditResult:
    """What is known of the conversations of one file, and those that are not learned as they should be."""

    facts: dict[str, float]
    broken: dict[Fault, list[Example]]


def require_teachable(talk: ChatTokenizer, rows: Sequence[Row]) -> None:
    """ValueError with the first rows whose turns the template cannot take, or cannot teach."""
    errors: dict[tuple[str, ...], str | None] = {}
    for row in rows:
        if (roles := tuple(message["role"] for message in row["messages"])) not in errors:
            errors[roles] = template_error(talk, roles)
    wrong = [(row, error) for row in rows if (error := errors[tuple(each["role"] for each in row["messages"])])]
    if wrong:
        shown = (f"{row['id']}\n{clipped(as_text(row['messages']))}" for row, _ in wrong[:SHOWN])
        raise ValueError("\n\n".join([f"{wrong[0][1]}; so it is for {counted(len(wrong))}, the first:", *shown]))


def template_error(talk: ChatTokenizer, roles: Sequence[str]) -> str | None:
    """Why no conversation of these roles can be learned, if so."""
    turns: list[Message] = [{"role": role, "content": f"{role} {turn}"} for turn, role in enumerate(roles, 1)]
    try:
        encoding.encode_conversation(talk, turns)
    except ValueError as error:
        return str(error)
    return None


def require_clean(
    talk: ChatTokenizer, files: Mapping[str, Sequence[Example]], room: int, served: ChatTokenizer
) -> dict[str, dict[str, float]]:
    """The facts about each file; ValueError names the first invariant that is broken, and shows the first rows."""
    if not files["train"]:
        raise ValueError("data/prepared/train.jsonl: there is no row to train on; data/prepared/quarantine.jsonl and "
                         "duplicates.jsonl say why")  # fmt: skip
    result = {}
    for name, taught in files.items():
        findings = audit_examples(talk, taught, room, served)
        for text in describe_faults(talk, name, findings):
            raise ValueError(text)
        result[name] = findings.facts
    return result


def audit_examples(
    talk: ChatTokenizer, taught: Sequence[Example], room: int, served: ChatTokenizer | None = None
) -> AuditResult:
    """Every conversation held against its row, and against how a model that is served would be asked."""
    common = checks.AuditContext(talk, room, unknown(talk.tokenizer))
    other = served if served and not same_chat(talk, served) else None
    ids = [lesson.features["input_ids"] for lesson in taught]
    learned = [list(compress(each, supervised(lesson))) for each, lesson in zip(ids, taught, strict=True)]
    broken: dict[Fault, list[Example]] = {}
    stripped, strange = set(), set()
    for lesson, said in zip(taught, preview.decode_spans(talk, learned), strict=True):
        before = lesson.messages[: lesson.learned_turns[-1]]
        asked = encoding.encode_prompt(talk, before)
        finding = checks.check_example(common, lesson, said, asked)
        if fault := finding.fault or ("served" if other and asks_differently(talk, other, before, asked) else None):
            broken.setdefault(fault, []).append(lesson)
        stripped |= {lesson.row_id} if finding.stripped else set()
        strange |= {lesson.row_id} if finding.unknown else set()
    tokens = sum(map(len, ids))
    facts = {
        "rows": len({lesson.row_id for lesson in taught}),
        "tokens": tokens,
        "learned": sum(map(len, learned)) / max(1, tokens),
        "stripped": len(stripped),
        "unknown": len(strange),
    }
    return AuditResult(facts, {fault: broken[fault] for fault in FAULTS if fault in broken})


def describe_faults(talk: ChatTokenizer, name: str, findings: AuditResult) -> list[str]:
    """A sentence for each invariant that is broken, and below it the first rows with what they learn marked."""
    result = []
    for fault, those in findings.broken.items():
        meaning = FAULTS[fault]
        rows = list({lesson.row_id: lesson for lesson in reversed(those)}.values())[::-1]
        shown = (f"{row.row_id}\n{clipped(preview.mark_labels(talk, row.features))}" for row in rows[:SHOWN])
        where = f"data/prepared/{name}.jsonl: in {len(rows):,} of {counted(findings.facts['rows'])}"
        result.append("\n\n".join([f"{where} {meaning.wrong}; {meaning.way_out}", *shown]))
    return result


def supervised(lesson: Example) -> list[bool]:
    return [label != IGNORE_INDEX for label in lesson.features["labels"]]


def served_chat(source: Path, talk: ChatTokenizer) -> ChatTokenizer:
    """The chat as it will be read where the model is served: from a folder that `encoding.copy` has written."""
    with TemporaryDirectory() as folder:
        model_folder.copy_tokenizer(source, Path(folder), talk.template)
        return encoding.load_tokenizer(Path(folder))


def same_chat(one: ChatTokenizer, other: ChatTokenizer) -> bool:
    """Whether two chats write and read alike, whatever is said."""
    texts = (each.tokenizer.to_str() for each in (one, other))
    return one.template == other.template and one.special_tokens == other.special_tokens and len(set(texts)) == 1


def asks_differently(one: ChatTokenizer, other: ChatTokenizer, messages: list[Message], asked: list[int]) -> bool:
    """Whether the other chat has another template, or asks with other ids."""
    return one.template != other.template or encoding.encode_prompt(other, messages) != asked


def unknown(tokenizer: Tokenizer) -> int | None:
    """The id that stands for what a tokenizer does not know, if it has one."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    return None if model.get("unk_token") is None else tokenizer.token_to_id(model["unk_token"])


def counted(rows: float) -> str:
    return "1 row" if rows == 1 else f"{rows:,} rows"


def as_text(messages: Sequence[Message]) -> str:
    return preview.escape_controls("\n".join(f"{message['role']}: {message['content']}" for message in messages))


def clipped(text: str) -> str:
    """A text that fits on a screen: of a long one its two ends."""
    text, half = text.rstrip("\n"), LONGEST // 2
    if len(text) <= LONGEST:
        return text
    return f"{text[:half]}\n[... {len(text) - LONGEST:,} characters ...]\n{text[-half:]}"
