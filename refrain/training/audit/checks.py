"""One conversation that is to be learned, held against its row and against the prompt that is asked.

Whether exactly the replies and their end markers are learned is found without `encode_conversation`: the learned ids
are decoded and compared with the words of the row, so that a mask is right or wrong by what it says.
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from refrain.chat import encoding, preview
from refrain.chat.control_characters import escape_controls
from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer, Features
from refrain.chat.examples import Example
from refrain.chat.records import is_text_alone
from refrain.training.audit import template_outline
from refrain.training.audit.faults import Fault
from refrain.training.audit.template_outline import TemplateOutline, outline_template


class Finding(NamedTuple):
    """About one conversation: the first fault that it has, or what is worth a count."""

    fault: Fault | None
    stripped: bool = False  # the template has dropped white space around a reply
    unknown: bool = False  # the prompt has an unknown token
    rewritten: bool = False  # the template rewrites an earlier reply, which is not learned


@dataclass(frozen=True)
class AuditContext:
    """What the conversations of one training have in common."""

    tokenizer: ChatTokenizer
    context_length: int  # tokens that a conversation may have
    unknown_id: int | None  # the id for what a tokenizer does not know
    outlines: dict[tuple[str, ...], TemplateOutline] = field(default_factory=dict)

    @cached_property
    def control_ids(self) -> frozenset[int]:
        return frozenset(self.tokenizer.index.special_ids.values()) - {self.unknown_id}

    def find_outline(self, example: Example) -> TemplateOutline:
        """What the template writes around such a conversation, made once for all of the same roles that are text."""
        if example.tools or not all(map(is_text_alone, example.messages)):
            return outline_template(self.tokenizer, example.messages, example.tools)
        roles = tuple(message["role"] for message in example.messages)
        if roles not in self.outlines:
            self.outlines[roles] = outline_template(self.tokenizer, example.messages)
        return self.outlines[roles]


def check_example(context: AuditContext, example: Example, learned_text: str, prompt_ids: list[int]) -> Finding:
    """The first fault of a conversation, given what its learned ids say and the prompt of its last reply."""
    ids, outline = example.features["input_ids"], context.find_outline(example)
    if fault := check_ids(context, ids, prompt_ids, outline):
        return Finding(fault)
    prompt_length = len(prompt_ids) if ids[: len(prompt_ids)] == prompt_ids else None
    kept = leave_out_rewritten(context.tokenizer, example, learned_text, outline)
    fault, is_stripped = check_labels(context.tokenizer, kept, learned_text, prompt_length, outline)
    fault = fault or check_tokens(context, example, outline)
    return Finding(fault, is_stripped, context.unknown_id in ids, len(kept.learned_turns) < len(example.learned_turns))


def leave_out_rewritten(
    tokenizer: ChatTokenizer, example: Example, learned_text: str, outline: TemplateOutline
) -> Example:
    """The conversation without the replies that the template rewrites, which are not learned; the last one stays."""
    *earlier, last = example.learned_turns
    kept = example._replace(learned_turns=[*(turn for turn in earlier if turn in outline.frames), last])
    if len(kept.learned_turns) == 1 or learned_text == frame_replies(kept, outline):
        return kept
    text = encoding.render_text(tokenizer, example.messages, example.tools)
    prompts = {
        turn: template_outline.find_prompt(tokenizer, example.messages, example.tools, turn, text) for turn in earlier
    }
    turns = [turn for turn, prompt in prompts.items() if prompt is not None]
    return example._replace(learned_turns=[*turns, last])


def check_ids(context: AuditContext, ids: list[int], prompt_ids: list[int], outline: TemplateOutline) -> Fault | None:
    """What is wrong with a conversation whatever is learned of it."""
    if len(ids) > 1 and ids[0] == ids[1] in context.control_ids:
        return "begin"
    if len(ids) > context.context_length:
        return "long"
    if outline.unwritten:
        return "turns"
    return "cut" if ids == prompt_ids[: len(ids)] else None


def check_labels(
    tokenizer: ChatTokenizer, example: Example, learned_text: str, prompt_length: int | None, outline: TemplateOutline
) -> tuple[Fault | None, bool]:
    """Whether something else is learned than the replies with their end markers; whether a reply was stripped.

    The last reply begins at `prompt_length`; None if the ids do not begin with its prompt.
    """
    if has_foreign_labels(example.features):
        return "mask", False
    if learned_text and leaves_out_calls(tokenizer, example, learned_text):
        return "cut", False
    if learned_text == frame_replies(example, outline):
        return (check_prompt(example, prompt_length) if learns_end(tokenizer, example) else "end"), False
    return check_rewritten(tokenizer, example, learned_text, prompt_length)


def leaves_out_calls(tokenizer: ChatTokenizer, example: Example, learned_text: str) -> bool:
    """Whether a function that is called in a learned turn is named nowhere in what is learned."""
    names = {
        call["function"]["name"]
        for turn in example.learned_turns
        for call in example.messages[turn].get("tool_calls", [])
    }
    return any(name not in learned_text and encode_and_decode(tokenizer, name) not in learned_text for name in names)


def has_foreign_labels(features: Features) -> bool:
    """Whether a label is another id than the one in its place."""
    pairs = zip(features["input_ids"], features["labels"], strict=True)
    return any(label not in (IGNORE_INDEX, token) for token, label in pairs)


def frame_replies(example: Example, outline: TemplateOutline) -> str:
    """What is to be learned where the template writes every reply as it is."""
    frames = [(outline.frames[turn], example.messages[turn]["content"]) for turn in example.learned_turns]
    return "".join(head + reply + tail for (head, tail), reply in frames)


def check_rewritten(
    tokenizer: ChatTokenizer, example: Example, learned_text: str, prompt_length: int | None
) -> tuple[Fault | None, bool]:
    """As `check_labels`, where something else is learned than the replies as they stand in the row."""
    replies = [example.messages[turn]["content"] for turn in example.learned_turns]
    spans = render_replies(tokenizer, example)
    if not is_same_text(tokenizer, learned_text, "".join(spans)):
        return classify_fault(tokenizer, example, learned_text, prompt_length, spans), False
    if any(remove_blanks(reply) not in remove_blanks(span) for reply, span in zip(replies, spans, strict=True)):
        return "cut", False
    is_stripped = any(reply not in span for reply, span in zip(replies, spans, strict=True))
    fault = check_prompt(example, prompt_length)
    return fault or ("mask" if labels_outer_blank(tokenizer, example) else None), is_stripped


def classify_fault(
    tokenizer: ChatTokenizer, example: Example, learned_text: str, prompt_length: int | None, spans: list[str]
) -> Fault:
    """What is wrong with a conversation that does not teach these spans."""
    [reply_text] = preview.decode_spans(tokenizer, [example.features["input_ids"][prompt_length or 0 :]])
    spellings = spans[-1], encode_and_decode(tokenizer, spans[-1])
    if not any(remove_blanks(text) in remove_blanks(reply_text) for text in spellings):
        return "cut"
    if not learned_text:
        return "nothing"
    unended = "".join(span.removesuffix(tokenizer.end_marker) for span in spans)
    return "end" if learned_text in (unended, "".join(spans).removesuffix(tokenizer.end_marker)) else "mask"


def check_prompt(example: Example, prompt_length: int | None) -> Fault | None:
    """Whether the last reply is not learned right behind its prompt, from its first id on."""
    if prompt_length is None:
        return "prompt"
    return None if is_learned_from(example, -1, prompt_length) else "mask"


def is_learned_from(example: Example, reply: int, start: int) -> bool:
    """Whether a reply is learned from this id on, and nothing right before it that is no reply."""
    labels, turns = example.features["labels"], [-1, *example.learned_turns]
    follows_reply = turns[reply - 1] == turns[reply] - 1 >= 0
    return labels[start] != IGNORE_INDEX and (follows_reply or start == 0 or labels[start - 1] == IGNORE_INDEX)


def labels_outer_blank(tokenizer: ChatTokenizer, example: Example) -> bool:
    """Whether white space before a reply or behind an end marker is learned."""
    ids, labels = example.features["input_ids"], example.features["labels"]
    prompts = [
        encoding.encode_prompt(tokenizer, example.messages[:turn], example.tools) for turn in example.learned_turns[:-1]
    ]
    lasts = [[ids[i]] for i, pair in enumerate(pairwise([*labels, IGNORE_INDEX])) if pair[1] == IGNORE_INDEX != pair[0]]
    return not (
        all(escape_controls(text).strip() for text in preview.decode_spans(tokenizer, lasts))
        and all(is_learned_from(example, reply, len(prompt)) for reply, prompt in enumerate(prompts, 1))
    )


def check_tokens(context: AuditContext, example: Example, outline: TemplateOutline) -> Fault | None:
    """Whether a control token is no template's, or an unknown token is learned."""
    if not only_template_controls(context, example, outline):
        return "control"
    return "unknown" if context.unknown_id is not None and context.unknown_id in example.features["labels"] else None


def only_template_controls(context: AuditContext, example: Example, outline: TemplateOutline) -> bool:
    """Whether all control tokens are the template's own."""
    control_ids = [token for token in example.features["input_ids"] if token in context.control_ids]
    if control_ids == outline.control_ids:
        return True
    index = context.tokenizer.index
    text, typed = encoding.render_conversation(context.tokenizer, example.messages, example.tools)
    matches = index.control_pattern.finditer(text)
    return control_ids == [index.special_ids[match[0]] for match in matches if match.start() not in typed]


def render_replies(tokenizer: ChatTokenizer, example: Example) -> list[str]:
    """What the template makes of each reply that is learned, from where it is asked for to the end marker."""
    marker = tokenizer.end_marker
    result = []
    for turn in example.learned_turns:
        before = encoding.render_text(tokenizer, example.messages[:turn], example.tools, add_generation_prompt=True)
        reply = encoding.render_text(tokenizer, example.messages[: turn + 1], example.tools)[len(before) :]
        result.append(reply[: reply.rindex(marker) + len(marker)])
    return result


def learns_end(tokenizer: ChatTokenizer, example: Example) -> bool:
    """Whether an id that ends a reply is learned, where not a text ends it."""
    return bool(tokenizer.stop_strings) or not tokenizer.stop_ids.isdisjoint(example.features["labels"])


def is_same_text(tokenizer: ChatTokenizer, learned_text: str, text: str) -> bool:
    """Whether it is the same but for white space, or for how the tokenizer spells it."""
    spellings = text, encode_and_decode(tokenizer, text)
    return remove_blanks(learned_text) in map(remove_blanks, spellings)


def encode_and_decode(tokenizer: ChatTokenizer, text: str) -> str:
    """A text as it comes back from the tokenizer, which may know fewer characters or one spelling of several."""
    ids = tokenizer.index.verbatim.encode(text, add_special_tokens=False).ids
    return preview.decode_spans(tokenizer, [ids])[0]


def remove_blanks(text: str) -> str:
    return "".join(text.split())
