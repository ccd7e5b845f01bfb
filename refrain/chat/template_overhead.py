"""How many bytes a template writes beside the words of a conversation, where the roles alone decide it.

They do where a template does nothing with the words but write them, perhaps without the white space around them: it
decides nothing by them, keeps them in no variable and hands them to nobody. Its syntax tree proves that. Then any one
conversation shows what is written beside the words of all that have its roles.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from jinja2 import nodes

from refrain.chat import templates
from refrain.chat.records import Message

MESSAGES, WORDS = "messages", "content"


LOOP_NUMBERS = {"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0"}


TRANSPARENT = (  # nodes that make nothing but what their parts make
    *(nodes.Template, nodes.TemplateData, nodes.If, nodes.Break, nodes.Continue, nodes.Const, nodes.CondExpr),
    *(nodes.BinExpr, nodes.UnaryExpr, nodes.Concat, nodes.Compare, nodes.Operand, nodes.Test, nodes.Filter),
)


MAX_TURNS = 100  # of conversations whose roles are kept


Names = frozenset[str]  # of variables that are messages


class TemplateOverhead:
    """Of one template what it writes beside the words, by the roles of a conversation."""

    def __init__(self, template: str, special_tokens: dict[str, str]) -> None:
        self.template, self.special_tokens = template, special_tokens
        self.by_roles: dict[tuple[str, ...], int | None] = {}

    def count_bytes(self, messages: Sequence[Message]) -> int | None:
        """Bytes of a conversation as the template writes it, or more; None where that is not known."""
        texts = [message["content"] for message in messages if len(message) == 2]  # of those that are no more
        roles = tuple([message["role"] for message in messages])
        if roles not in self.by_roles:
            self.by_roles[roles] = self.find_overhead(roles)
        if (beside := self.by_roles[roles]) is None or len(texts) < len(roles):
            return None
        return beside + sum([len(text) if text.isascii() else len(text.encode()) for text in texts])

    def find_overhead(self, roles: tuple[str, ...]) -> int | None:
        """What stands beside the words of any conversation of these roles, unless it is refused."""
        if len(roles) > MAX_TURNS or not self.leaves_words_alone:
            return None
        marks = [chr(0xE000 + nth) for nth in range(len(roles))]  # private characters, in place of words
        messages: list[Message] = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        try:
            text = templates.render_template(self.template, messages, self.special_tokens)
        except ValueError:
            return None
        if any(text.count(mark) > 1 for mark in marks):
            return None
        return len("".join([char for char in text if char not in marks]).encode())

    @cached_property
    def leaves_words_alone(self) -> bool:
        return leaves_words_alone(templates.jinja_environment().parse(self.template), frozenset())


def leaves_words_alone(node: nodes.Node, messages: Names) -> bool:
    """Whether the words of no message have an effect on a part of a template, but where they are written."""
    match node:
        case nodes.Output():
            return all(writes_alone(part, messages) for part in node.nodes)
        case nodes.For(target=nodes.Name(name=name), recursive=False):
            inner = messages | {name} if is_conversation(node.iter) else messages
            parts = [*node.body, *node.else_, *([node.test] if node.test else [])]
            return (
                name not in {MESSAGES, "loop", *messages}
                and (inner != messages or leaves_words_alone(node.iter, messages))
                and all(leaves_words_alone(part, inner) for part in parts)
            )
        case nodes.Assign(target=nodes.Name(name=name)):
            return name not in {MESSAGES, "loop", *messages} and leaves_words_alone(node.node, messages)
        case nodes.Call(node=nodes.Name(name="raise_exception")):
            return all(leaves_words_alone(part, messages) for part in node.args)
        case nodes.Name(name=name):
            return name not in {MESSAGES, "loop", *messages}
        case nodes.Getattr() | nodes.Getitem():
            return is_harmless_field(node, messages)
    return isinstance(node, TRANSPARENT) and all(leaves_words_alone(part, messages) for part in node.iter_child_nodes())


def writes_alone(node: nodes.Node, messages: Names) -> bool:
    """The same of what is written, which may have the words in it: as they are, trimmed, or beside another text."""
    match node:
        case nodes.Add() | nodes.Concat():
            return all(writes_alone(part, messages) for part in node.iter_child_nodes())
        case nodes.Filter(name="trim", args=[], kwargs=[]):
            return node.node is not None and writes_alone(node.node, messages)
    is_words = (field := split_field(node)) is not None and field[1] == WORDS and is_message(field[0], messages)
    return is_words or leaves_words_alone(node, messages)


def is_harmless_field(node: nodes.Node, messages: Names) -> bool:
    """Whether a field is of something else than a message, or is not its words; a method of one is called nowhere."""
    if (field := split_field(node)) is None:
        return False
    whole, key = field
    if is_message(whole, messages):
        return bool(key != WORDS)
    if isinstance(whole, nodes.Name) and whole.name == "loop":
        return key in LOOP_NUMBERS
    return leaves_words_alone(whole, messages)


def split_field(node: nodes.Node) -> tuple[nodes.Node, Any] | None:
    """Of `a.b` and `a["b"]` both parts; None for anything else."""
    match node:
        case nodes.Getattr(node=whole, attr=key) | nodes.Getitem(node=whole, arg=nodes.Const(value=key)):
            return whole, key
    return None


def is_message(node: nodes.Node, messages: Names) -> bool:
    match node:
        case nodes.Getitem(node=whole, arg=nodes.Const(value=int()) | nodes.Neg(node=nodes.Const(value=int()))):
            return is_conversation(whole)
    return isinstance(node, nodes.Name) and node.name in messages


def is_conversation(node: nodes.Node) -> bool:
    """Whether a value is all messages, or some in a row."""
    match node:
        case nodes.Getitem(node=whole, arg=nodes.Slice()):
            return is_conversation(whole) and all(isinstance(part, nodes.Const) for part in node.arg.iter_child_nodes())
    return isinstance(node, nodes.Name) and node.name == MESSAGES
