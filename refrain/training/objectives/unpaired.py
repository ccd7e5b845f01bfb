"""Replies that are good or bad, each by itself: those of rows with a label, and both of each pair."""

from collections import Counter
from dataclasses import dataclass

from refrain.chat.encoding import ChatTokenizer, Features
from refrain.chat.examples import Example, example_of_last_reply, list_conversations
from refrain.chat.records import Row
from refrain.training.objectives import pairs


@dataclass(frozen=True)
class JudgedReply:
    """A prompt with a reply, which alone is labelled, and whether that is a good one."""

    features: Features
    is_desirable: bool
    kl_example: Features  # the prompt with a reply to another one
    reference_logprobs: tuple[float, ...] = ()  # of both before the first step


def encode_rows(tokenizer: ChatTokenizer, rows: list[Row]) -> tuple[list[JudgedReply], dict[str, list[str]]]:
    """The replies, and the ids of rows that judge none; ValueError names the row that the template cannot take."""
    texts: list[Features] = []
    verdicts: list[bool] = []
    for row in filter(is_judged, rows):
        texts += pairs.encode_conversations(tokenizer, row)
        verdicts += [True, False] if "rejected" in row else [row["label"]]
    replies = [JudgedReply(*reply) for reply in zip(texts, verdicts, make_kl_examples(texts), strict=True)]
    return replies, {"unlabelled": [row["id"] for row in rows if not is_judged(row)]}


def is_judged(row: Row) -> bool:
    """Whether a row says what is good or bad: of its reply, or of one in comparison with another."""
    return "rejected" in row or "label" in row


def examples(rows: list[Row], replies: list[JudgedReply]) -> list[Example]:
    """What `encode_rows` has made of the rows, with their words: the last reply of each conversation is learned."""
    conversations = [(row, messages) for row in filter(is_judged, rows) for messages in list_conversations(row)]
    return [
        example_of_last_reply(row, messages, reply.features)
        for (row, messages), reply in zip(conversations, replies, strict=True)
    ]


def make_kl_examples(texts: list[Features]) -> list[Features]:
    """Each prompt with the reply that stands so far before it, going round, that no two rows of a prompt are so near.

    That is the one before where no two prompts are the same, and every reply is given away once. Only where most rows
    have the same prompt some get a reply to it. A KL example is cut where the longest text of all ends, so that none
    is longer than what a person allowed.
    """
    longest = max((len(text["input_ids"]) for text in texts), default=0)
    prompts = [tuple(text["input_ids"][: pairs.prompt_length(text)]) for text in texts]
    counts = Counter(prompts)  # in the order in which they first stand
    first = {prompt: place for place, prompt in enumerate(counts)}
    order = sorted(range(len(texts)), key=lambda row: first[prompts[row]])  # rows of one prompt are neighbours
    most = max(counts.values(), default=1)
    shift = most if most < len(texts) else 1
    others = {row: order[place - shift] for place, row in enumerate(order)}
    return [pairs.prompt_with_reply_of(text, texts[others[row]], longest) for row, text in enumerate(texts)]
