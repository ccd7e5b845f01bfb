"""One conversation that is to be learned, held against its row and against the prompt that is asked.

Whether exactly the replies and their end markers are learned, found without a word of `encoding.features`.

The learned ids are decoded and compared with the words of the row, so that a mask is right or wrong by what it says.
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from refrain.chat import encoding, preview, templates
from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer
from refrain.chat.examples import Example
from refrain.training.audit.faults import Fault
from refrain.training.audit.template_outline import TemplateOutline, outline_of


class Finding(NamedTuple):
    """About one conversation: the first fault that it has, or what is worth a count."""

    fault: Fault | None
    stripped: bool = False  # the template has dropped white space around a reply
    unknown: bool = False  # the prompt has an unknown token


@dataclass(frozen=True)
class AuditContext:
    """What the conversations of one training have in common."""

    talk: ChatTokenizer
    room: int  # tokens that a conversation may have
    unknown: int | None  # the id for what a tokenizer does not know
    outlines: dict[tuple[str, ...], TemplateOutline] = field(default_factory=dict)

    @cached_property
    def controls(self) -> frozenset[int]:
        return frozenset(self.talk.index.special_ids.values()) - {self.unknown}

    def outline(self, lesson: Example) -> TemplateOutline:
        roles = tuple(message["role"] for message in lesson.messages)
        if roles not in self.outlines:
            self.outlines[roles] = outline_of(self.talk, roles)
        return self.outlines[roles]


def check_example(exam: AuditContext, lesson: Example, said: str, asked: list[int]) -> Finding:
    """The first fault of a conversation of which `said` is learned and `asked` is the prompt of the last reply."""
    ids, labels = lesson.features["input_ids"], lesson.features["labels"]
    expected = exam.outline(lesson)
    if len(ids) > 1 and ids[0] == ids[1] in exam.controls:
        return Finding("begin")
    if len(ids) > exam.room:
        return Finding("long")
    if expected.unwritten:
        return Finding("turns")
    if ids == asked[: len(ids)]:
        return Finding("cut")
    fault, stripped = check_labels(
        exam.talk, lesson, said, len(asked) if ids[: len(asked)] == asked else None, expected
    )
    if fault is None and not only_template_controls(exam, lesson, expected):
        fault = "control"
    if fault is None and exam.unknown is not None and exam.unknown in labels:
        fault = "unknown"
    return Finding(fault, stripped, exam.unknown in ids)


def only_template_controls(exam: AuditContext, lesson: Example, expected: TemplateOutline) -> bool:
    """Whether all control tokens are the template's own."""
    special = exam.talk.index.special_ids
    own = [token for token in lesson.features["input_ids"] if token in exam.controls]
    if own == expected.controls:
        return True
    text, typed = encoding.render_conversation(exam.talk, lesson.messages)
    matches = exam.talk.index.control_pattern.finditer(text)
    return own == [special[match[0]] for match in matches if match.start() not in typed]


def check_labels(
    talk: ChatTokenizer, lesson: Example, said: str, start: int | None, expected: TemplateOutline
) -> tuple[Fault | None, bool]:
    """Whether something else is learned than the replies with their end markers; whether a reply was stripped.

    The last reply begins at `start`; None if the ids do not begin with its prompt.
    """
    ids, labels = lesson.features["input_ids"], lesson.features["labels"]
    if any(label not in (IGNORE_INDEX, token) for token, label in zip(ids, labels, strict=True)):
        return "mask", False
    replies = [lesson.messages[i]["content"] for i in lesson.learned_turns]
    frames = [expected.frames[i] for i in lesson.learned_turns]
    if said == "".join(head + reply + tail for reply, (head, tail) in zip(replies, frames, strict=True)):
        return (check_start(lesson, start) if learns_end(talk, lesson) else "end"), False
    spans = rendered_replies(talk, lesson)
    if not same_text(talk, said, "".join(spans)):
        return classify(talk, lesson, said, start, spans), False
    if any(without_blank(reply) not in without_blank(span) for reply, span in zip(replies, spans, strict=True)):
        return "cut", False
    stripped = any(reply not in span for reply, span in zip(replies, spans, strict=True))
    return (check_start(lesson, start) or ("mask" if labels_outer_blank(talk, lesson) else None)), stripped


def classify(talk: ChatTokenizer, lesson: Example, said: str, start: int | None, spans: list[str]) -> Fault:
    """What is wrong with a conversation that does not teach these spans."""
    [rest] = preview.decode_spans(talk, [lesson.features["input_ids"][start or 0 :]])
    if not any(without_blank(text) in without_blank(rest) for text in (spans[-1], roundtrip(talk, spans[-1]))):
        return "cut"
    if not said:
        return "nothing"
    unended = "".join(span.removesuffix(talk.end_marker) for span in spans)
    return "end" if said in (unended, "".join(spans).removesuffix(talk.end_marker)) else "mask"


def check_start(lesson: Example, start: int | None) -> Fault | None:
    """Whether the last reply is not learned right behind its prompt, from its first id on."""
    if start is None:
        return "prompt"
    return None if opens(lesson, -1, start) else "mask"


def opens(lesson: Example, reply: int, start: int) -> bool:
    """Whether a reply is learned from this id on, and nothing right before it that is no reply."""
    labels, turns = lesson.features["labels"], [-1, *lesson.learned_turns]
    neighbour = turns[reply - 1] == turns[reply] - 1 >= 0
    return labels[start] != IGNORE_INDEX and (neighbour or start == 0 or labels[start - 1] == IGNORE_INDEX)


def labels_outer_blank(talk: ChatTokenizer, lesson: Example) -> bool:
    """Whether white space before a reply or behind an end marker is learned."""
    ids, labels = lesson.features["input_ids"], lesson.features["labels"]
    prompts = [encoding.encode_prompt(talk, lesson.messages[:turn]) for turn in lesson.learned_turns[:-1]]
    lasts = [[ids[i]] for i, pair in enumerate(pairwise([*labels, IGNORE_INDEX])) if pair[1] == IGNORE_INDEX != pair[0]]
    return not (
        all(preview.escape_controls(text).strip() for text in preview.decode_spans(talk, lasts))
        and all(opens(lesson, at, len(prompt)) for at, prompt in enumerate(prompts, 1))
    )


def rendered_replies(talk: ChatTokenizer, lesson: Example) -> list[str]:
    """What the template makes of each reply that is learned, from where it is asked for to the end marker."""
    result = []
    for i in lesson.learned_turns:
        before = templates.render_template(
            talk.template, lesson.messages[:i], talk.special_tokens, add_generation_prompt=True
        )
        reply = templates.render_template(talk.template, lesson.messages[: i + 1], talk.special_tokens)[len(before) :]
        result.append(reply[: reply.rindex(talk.end_marker) + len(talk.end_marker)])
    return result


def learns_end(talk: ChatTokenizer, lesson: Example) -> bool:
    """Whether an id that ends a reply is learned, where not a text ends it."""
    return bool(talk.stop_strings) or not talk.stop_ids.isdisjoint(lesson.features["labels"])


def same_text(talk: ChatTokenizer, said: str, text: str) -> bool:
    """Whether it is the same but for white space, or for how the tokenizer spells it."""
    return without_blank(said) in (without_blank(text), without_blank(roundtrip(talk, text)))


def roundtrip(talk: ChatTokenizer, text: str) -> str:
    """A text as it comes back from the tokenizer, which may know fewer characters or one spelling of several."""
    return preview.decode_spans(talk, [talk.index.verbatim.encode(text, add_special_tokens=False).ids])[0]


def without_blank(text: str) -> str:
    """Without white space."""
    return "".join(text.split())
