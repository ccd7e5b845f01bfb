"""From the body of a chat request to the replies that are to be made."""

from dataclasses import dataclass

from refrain.generation import tool_calls
from refrain.serving.api import response_format
from refrain.serving.api.body import Body
from refrain.serving.api.fields import ChatFields, OutputFields
from refrain.serving.api.response_format import GrammarSource
from refrain.serving.api.tools import OfferedTools
from refrain.serving.errors import invalid_value
from refrain.serving.models.model_pool import ServedModel
from refrain.serving.requests import conversation, plan, prompts
from refrain.serving.requests.call_reader import CallReader
from refrain.serving.requests.conversation import Conversation
from refrain.serving.requests.grammars import GrammarCache
from refrain.serving.requests.plan import Plan
from refrain.serving.requests.prompts import ChatPrompt
from refrain.serving.requests.served_tokenizer import ServedTokenizer
from refrain.serving.settings.schema import ServeSettings


@dataclass(frozen=True)
class ChatPlan:
    """The replies to a conversation, and how calls in them are read."""

    plan: Plan
    offered: OfferedTools
    is_single_call: bool

    def call_reader(self) -> CallReader | None:
        """What reads the calls of one reply; None where nothing can be called."""
        form = self.plan.tokenizer.call_form
        if not self.offered.tools or form is None:
            return None
        names = {tool["function"]["name"] for tool in self.offered.tools}
        return CallReader(form, names, self.is_single_call)


async def plan_chat(
    body: Body, model: ServedModel, tokenizer: ServedTokenizer, settings: ServeSettings, grammars: GrammarCache
) -> ChatPlan:
    """What the request comes to; ApiError 400 for all that can be refused."""
    fields, output_fields = body.convert(ChatFields), body.convert(OutputFields)
    output = plan.plan_output(body, settings, tokenizer.tokenizer.tokenizer.get_vocab_size())
    logprobs, context = parse_logprobs(fields), model.backend.context
    size = prompts.estimate_size(fields.messages)
    chat = await prompts.run_aside(size, conversation.read_conversation, fields, tokenizer)
    source = choose_grammar(output_fields, fields, chat.offered, tokenizer)
    room = min(output.max_tokens or context // 2, context // 2) if output_fields.truncate else 0
    prompt = await prompts.run_aside(size, encode_prompt, chat, tokenizer, context, room)
    grammar = await grammars.compile(model, source) if source else None
    requests = plan.plan_requests([prompt.ids], output, context, grammar, logprobs, is_chat=True)
    ignored = [*body.ignored, *chat.ignored]
    made = Plan(model, tokenizer, output, [prompt.ids], requests, ignored, prompt.num_left_out)
    return ChatPlan(made, chat.offered, fields.parallel_tool_calls is False or isinstance(fields.tool_choice, dict))


def parse_logprobs(fields: ChatFields) -> int | None:
    """How many likely tokens are wanted beside each, None for no log-probabilities at all."""
    count = plan.check_logprobs(fields.top_logprobs, "top_logprobs")
    if count is not None and not fields.logprobs:
        raise invalid_value("top_logprobs", "top_logprobs: it needs logprobs; set logprobs to true, or leave it out")
    return (count or 0) if fields.logprobs else None


def choose_grammar(
    output: OutputFields, fields: ChatFields, offered: OfferedTools, tokenizer: ServedTokenizer
) -> GrammarSource | None:
    """What replies must match: a format, or the form of calls."""
    source, form = response_format.find_grammar(output), tokenizer.call_form
    if not offered.required or form is None:
        return source
    if source is not None:
        raise invalid_value("tool_choice", f"tool_choice: a reply that must be a call cannot match {source.param} too; "
                            "leave one of them out")  # fmt: skip
    may_repeat = fields.tool_choice == "required" and fields.parallel_tool_calls is not False
    rules = tool_calls.call_grammar(form, tokenizer.tokenizer.index.special_ids, offered.required, may_repeat)
    return GrammarSource("lark", rules, "tools")


def encode_prompt(chat: Conversation, tokenizer: ServedTokenizer, context: int, room: int) -> ChatPrompt:
    """The ids of a conversation, without its oldest turns where that many tokens are wanted free.

    ApiError 400 where it is too long, or the template would leave something of it out.
    """
    turns, num_left_out = prompts.truncate_oldest(chat.count, chat.turns, context - room) if room else (chat.turns, 0)
    prompts.require_room(chat.count(turns), context, "messages")
    conversation.check_writable(chat, turns, tokenizer)
    ids = chat.encode(turns)
    prompts.require_room(len(ids), context, "messages")
    return ChatPrompt(ids, num_left_out)
