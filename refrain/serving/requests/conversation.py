"""A conversation that a request holds: checked against what the template can write, then encoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from refrain.chat import encoding, records, templates, tokenization, tool_form
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message
from refrain.generation.prompt_rows import writes_roles
from refrain.serving.api import messages, tools
from refrain.serving.api.fields import ChatFields
from refrain.serving.api.tools import OfferedTools
from refrain.serving.errors import ApiError, invalid_value
from refrain.serving.requests.served_tokenizer import ServedTokenizer


@dataclass(frozen=True)
class Conversation:
    """Turns, with what may be called in them, and how the reply begins."""

    tokenizer: ChatTokenizer
    turns: list[Message]
    offered: OfferedTools
    adds_generation_prompt: bool
    continues_final_message: bool
    ignored: list[str]

    def render(self, turns: list[Message]) -> tuple[str, list[int]]:
        """The text that the model reads of these turns, and the places in it of control tokens that were typed."""
        asked, words = (turns[:-1], turns[-1]["content"]) if self.continues_final_message else (turns, "")
        adds_prompt = self.adds_generation_prompt or self.continues_final_message
        with template_refusals():
            text, typed = encoding.render_conversation(self.tokenizer, asked, self.offered.tools or None, adds_prompt)
        return text + words, typed

    def count(self, turns: list[Message]) -> int:
        """About how many ids these turns have, as fast as their text is read; `encode` tries each reply of them."""
        return len(self.tokenizer.tokenizer.encode(self.render(turns)[0], add_special_tokens=False).ids)

    def encode(self, turns: list[Message]) -> list[int]:
        """The ids of these turns; ApiError 400 in the template's words where it refuses them."""
        offered = self.offered.tools or None
        with template_refusals():
            if self.continues_final_message:
                prompt = encoding.encode_prompt(self.tokenizer, turns[:-1], offered)
                words = self.tokenizer.index.verbatim.encode(turns[-1]["content"], add_special_tokens=False)
                return [*prompt, *words.ids]
            if self.adds_generation_prompt:
                return encoding.encode_prompt(self.tokenizer, turns, offered)
            text, typed = encoding.render_conversation(self.tokenizer, turns, offered)
            return [token for token, _ in tokenization.tokenize(self.tokenizer.index, text, typed, [])]


@contextmanager
def template_refusals() -> Iterator[None]:
    """ApiError 400 in the template's words where it refuses a conversation."""
    try:
        yield
    except ValueError as error:
        raise invalid_value("messages", f"messages: {error}") from error


def read_conversation(fields: ChatFields, tokenizer: ServedTokenizer) -> Conversation:
    """The conversation of a request; ApiError 400 where it has no meaning, or tools that the model cannot be told."""
    turns, ignored = messages.parse_messages(fields.messages)
    offered = tools.parse_tools(fields)
    if offered.tools and not tokenizer.writes_tools:
        raise ApiError(400, "unsupported", "tools: this model's template takes no tools; leave them out", "tools")
    if offered.tools:
        tools.require_readable(tokenizer.call_form is not None, offered.required)
    adds, continues = find_opening(fields, turns)
    if offered.tools or not all(map(records.is_text_alone, turns)):
        turns = tool_form.complete_calls(tokenizer.tokenizer.tool_form, turns, "chat")
    return Conversation(tokenizer.tokenizer, turns, offered, adds, continues, [*ignored, *offered.ignored])


def find_opening(fields: ChatFields, turns: list[Message]) -> tuple[bool, bool]:
    """Whether a turn is opened for the reply, and whether it goes on with the last one; ApiError 400 for neither."""
    has_last_word = turns[-1]["role"] == "assistant"
    if not fields.continue_final_message:
        if has_last_word and fields.add_generation_prompt is not False:
            raise invalid_value("messages", "messages: the assistant has the last word, so nothing is asked; end with "
                                "a user's message, or set continue_final_message to true")  # fmt: skip
        return fields.add_generation_prompt is not False, False
    if fields.add_generation_prompt:
        raise invalid_value("add_generation_prompt", "add_generation_prompt: a message that is continued has its turn; "
                            "set it to false, or leave it out")  # fmt: skip
    if not has_last_word or len(turns) < 2:
        raise invalid_value("continue_final_message", "continue_final_message: the last message is not the "
                            "assistant's, behind another; leave it out")  # fmt: skip
    return False, True


def check_writable(conversation: Conversation, turns: list[Message], tokenizer: ServedTokenizer) -> None:
    """ApiError 400 where the template would leave something out of turns: calls, a thought, or what a role says."""
    asked = turns[:-1] if turns[-1]["role"] == "assistant" else turns
    offered = conversation.offered.tools
    if offered or not all(map(records.is_text_alone, asked)):
        if fault := tokenizer.find_fault([*asked, templates.REPLY], offered):
            raise invalid_value("messages", f"messages: {fault}")
    elif not writes_roles(tokenizer.tokenizer, tuple(turn["role"] for turn in asked)):
        raise invalid_value("messages", "messages: the chat template leaves out what one of these roles says; "
                            "say it in a user's message")  # fmt: skip
