"""What is known of a model's tokenizer and template, found out once for each model."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message, Tool
from refrain.chat.written_fields import TemplateFields
from refrain.generation import tool_calls
from refrain.generation.token_bytes import TokenBytes
from refrain.generation.tool_calls import CallForm
from refrain.serving.models.model_pool import ServedModel
from refrain.serving.requests.logprobs import LogprobFormat

MOST_TOKENIZERS = 16
MOST_KINDS = 1000  # of conversations that are remembered
MOST_ROLES = 50  # turns of a conversation that is tried


@dataclass(frozen=True)
class ServedTokenizer:
    """A tokenizer, and what takes a while to find out."""

    tokenizer: ChatTokenizer

    @cached_property
    def template_fields(self) -> TemplateFields:
        """What the template writes beside the text of turns."""
        return TemplateFields(self.tokenizer)

    @property
    def writes_tools(self) -> bool:
        """Whether the model is told of tools at all."""
        return "tools" in self.template_fields.written

    def find_fault(self, messages: Sequence[Message], tools: Sequence[Tool]) -> str | None:
        """Why the template does not write a conversation with tools or thoughts; None if it writes all of it."""
        if len(self.template_fields.faults) > MOST_KINDS:
            self.template_fields.faults.clear()
        fault = self.template_fields.find_fault(messages, tools)
        return fault.message if fault else None

    @cached_property
    def call_form(self) -> CallForm | None:
        """How the template writes calls; None where they cannot be read back."""
        return tool_calls.find_call_form(self.tokenizer)

    @cached_property
    def token_bytes(self) -> TokenBytes:
        return TokenBytes(self.tokenizer.tokenizer)

    @cached_property
    def logprob_format(self) -> LogprobFormat:
        return LogprobFormat(self.tokenizer, self.token_bytes)


class ServedTokenizers:
    """The tokenizers of the models that were asked last, by their seals; none of them holds its model."""

    def __init__(self) -> None:
        self._tokenizers: OrderedDict[str, ServedTokenizer] = OrderedDict()

    def find(self, model: ServedModel) -> ServedTokenizer:
        """That of a model."""
        if (found := self._tokenizers.get(model.seal)) is None:
            found = self._tokenizers[model.seal] = ServedTokenizer(model.backend.tokenizer)
            if len(self._tokenizers) > MOST_TOKENIZERS:
                self._tokenizers.popitem(last=False)
        self._tokenizers.move_to_end(model.seal)
        return found
