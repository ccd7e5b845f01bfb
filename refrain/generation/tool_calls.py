"""Calls of tools in the text of a reply: found by the inverse of how the chat template writes them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from refrain.chat import templates, tool_form
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import FunctionCall, Message, Tool, ToolCall
from refrain.generation import grammar

DECODER = json.JSONDecoder()
ID = re.compile(r"refrain\d\d")  # of the calls that a template is tried with
NAME = r"([\w.-]+)"


class ReplyWithCalls(NamedTuple):
    """A reply with calls: its words, and what it calls."""

    content: str
    calls: list[FunctionCall]


@dataclass(frozen=True)
class CallForm:
    """The text around names and arguments of calls; control tokens are in it, and stand in no reply."""

    head: str  # before the first call
    middle: str  # between a name and its arguments, in whichever order
    separator: str | None  # between two calls; None where the template writes one alone
    tail: str
    tail_of_several: str  # some templates close the list of calls only where it is one
    has_name_first: bool
    control_pattern: re.Pattern[str]

    @property
    def marker(self) -> str:
        """The first word of calls, behind which nothing of a reply is certain until it is whole."""
        return [*self.control_pattern.sub("", self.head).split(), ""][0]

    def parse(self, text: str, names: set[str]) -> ReplyWithCalls | None:
        """The calls of a whole reply; None where it is words alone, or calls what there is not."""
        if (head := self._pattern(self.head).search(text)) is None:
            return None
        calls, at = list[FunctionCall](), head.end()
        try:
            while True:
                call, at = self._parse_call(text, at)
                calls.append(call)
                if self.separator is None or not (found := self._pattern(self.separator).match(text, at)):
                    break
                at = found.end()
        except (ValueError, RecursionError):
            return None
        if not {call["name"] for call in calls} <= names:
            return None
        tail = self._pattern(self.tail if len(calls) == 1 else self.tail_of_several).match(text, at)
        rest = text[tail.end() if tail else at :]
        return ReplyWithCalls((text[: head.start()].rstrip() + rest.rstrip()), calls)

    def _parse_call(self, text: str, at: int) -> tuple[FunctionCall, int]:
        """The call there, and where it ends; ValueError where there is none."""
        name, arguments = "", Any
        for part in ("name", "middle", "arguments") if self.has_name_first else ("arguments", "middle", "name"):
            if part == "arguments":
                arguments, at = DECODER.raw_decode(text, at)
                continue
            found = (re.compile(NAME) if part == "name" else self._pattern(self.middle)).match(text, at)
            if found is None:
                raise ValueError(f"{text[at : at + 20]!r}: it is no {part} of a call")
            name, at = found[1] if part == "name" else name, found.end()
        if not isinstance(arguments, dict):
            raise ValueError("the arguments are no object")
        return {"name": name, "arguments": arguments}, at

    def _pattern(self, literal: str) -> re.Pattern[str]:
        """What a model may write for a text: other blanks, other ids, no control tokens."""
        shown = self.control_pattern.sub("", literal).strip()
        pieces = [r"[\w-]+".join(map(re.escape, ID.split(word))) for word in shown.split()]
        return re.compile(r"\s*" + r"\s*".join(pieces) + r"\s*")


def find_call_form(tokenizer: ChatTokenizer) -> CallForm | None:
    """How the template writes calls; None where it writes none, or none that can be read back."""
    one, two = render_calls(tokenizer, 1), render_calls(tokenizer, 2)
    places = find_places(one)
    if len(places) != 2:
        return None
    (first, second), more = places, find_places(two)
    separator = two[more[1][1] : more[2][0]] if len(more) == 4 else None
    return CallForm(
        head=one[: first[0]],
        middle=one[first[1] : second[0]],
        separator=separator,
        tail=find_tail(tokenizer, one, places),
        tail_of_several=find_tail(tokenizer, two, more) if separator is not None else "",
        has_name_first=one[first[0] : first[1]] == tool_form.NAME,
        control_pattern=tokenizer.index.control_pattern,
    )


def find_tail(tokenizer: ChatTokenizer, text: str, places: list[tuple[int, int]]) -> str:
    """What stands between the last call and the end of the reply."""
    begin = places[-1][1]
    end = text.find(tokenizer.end_marker, begin)
    return text[begin : end if end >= 0 else len(text)]


def render_calls(tokenizer: ChatTokenizer, count: int) -> str:
    """What stands in place of a reply of so many calls; empty where the template refuses them."""
    calls: list[ToolCall] = [{**tool_form.CALL, "id": f"refrain0{nth}"} for nth in range(1, count + 1)]
    calling: Message = {"role": "assistant", "content": "", "tool_calls": calls}

    def render(messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        adapted = tool_form.adapt_messages(tokenizer.tool_form, messages)
        return templates.render_template(
            tokenizer.template, adapted, tokenizer.special_tokens, add_generation_prompt, [tool_form.TOOL]
        )

    try:
        prompt = render([templates.QUESTION], add_generation_prompt=True)
        text = render([templates.QUESTION, calling])
    except templates.TemplateRefusalError:
        return ""
    begin = len(prompt)
    if not text.startswith(prompt):  # the prompt opens a thought, say
        shared = text[: templates.count_shared(prompt, text)]
        begin = max(shared.rfind(">"), shared.rfind("\n")) + 1
    return text[begin:].removeprefix(find_opening(tokenizer))


def find_opening(tokenizer: ChatTokenizer) -> str:
    """What the template writes before the words of a reply, such as an empty thought; nothing where that is unknown."""
    try:
        return templates.find_opening(tokenizer.template, tokenizer.special_tokens)
    except ValueError:
        return ""


def find_places(text: str) -> list[tuple[int, int]]:
    """Where the names and the arguments of the calls stand, in order."""
    places = [match.span() for match in re.finditer(tool_form.NAME, text)]
    for match in re.finditer(r"\{", text):
        try:
            value, end = DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if value == {tool_form.KEY: tool_form.VALUE}:
            places.append((match.start(), end))
    return sorted(places)


def call_grammar(form: CallForm, special_ids: dict[str, int], tools: Sequence[Tool], may_repeat: bool) -> str:
    """A grammar, in Lark's notation, of replies that are calls of these tools and nothing else."""

    def literal(text: str) -> str:
        parts = re.split(f"({ID.pattern}|{form.control_pattern.pattern})", text)
        return '""' if not text else " ".join(
            "/[a-zA-Z0-9]{9}/" if ID.fullmatch(part)
            else f"<[{special_ids[part]}]>" if part in special_ids
            else json.dumps(part, ensure_ascii=False)
            for part in parts if part
        )  # fmt: skip

    rules, names = [], []
    for nth, tool in enumerate(tools):
        function = tool["function"]
        schema = function.get("parameters") or {"type": "object"}
        rules.append(f"arguments{nth}: %json {json.dumps({**schema, 'x-guidance': grammar.SPACING})}")
        name = json.dumps(function["name"])
        parts = (name, literal(form.middle), f"arguments{nth}")
        names.append(" ".join(parts if form.has_name_first else reversed(parts)))
    end = literal(form.tail)
    if may_repeat and form.separator is not None:
        end = f"({end} | ({literal(form.separator)} call)+ {literal(form.tail_of_several)})"
    start = f"start: {literal(form.head)} call {end}"
    return "\n".join([start, f"call: {' | '.join(names)}", *rules])
