"""Several questions in one row: a chat of them and their answers."""

from typing import Any

from refrain.chat.records import Message
from refrain.data.shapes import fields
from refrain.data.shapes.conversations import Conversation
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields


def parse_questions(row: Fields) -> Conversation:
    """Each question and its answer, in turn; what they are about stands above the first."""
    questions, answers = fields.require_list(row, "questions"), answer_list(row["answers"])
    if len(questions) != len(answers):
        raise RowError("contradiction", f"the row has {len(questions)} questions and {len(answers)} answers")
    messages = alternate_turns(questions, answers)
    if messages and "context" in row:
        messages[0]["content"] = f"{fields.require_text(row, 'context')}\n\n{messages[0]['content']}"
    return {"messages": messages}


def has_lists(row: Fields) -> bool:
    return isinstance(row.get("questions"), list)


def answer_list(value: Any) -> list[Any]:
    """Answers as a list, or as the list of their texts in an object."""
    if isinstance(value, dict):
        value = value.get("input_text", value.get("text"))
    return fields.require_list({"answers": value}, "answers")


def parse_benchmark(name: str, row: Fields) -> Conversation:
    """The user's turns of MT-bench, with its reference answers where there are some."""
    questions = fields.require_list(row, name)
    answers = fields.require_list(row, "reference") if "reference" in row else []
    if len(answers) > len(questions):
        raise RowError("contradiction", f"the row has {len(questions)} turns and {len(answers)} references")
    return {"messages": alternate_turns(questions, answers)}


def alternate_turns(questions: list[Any], answers: list[Any]) -> list[Message]:
    messages: list[Message] = []
    for number, question in enumerate(questions, start=1):
        messages.append({"role": "user", "content": text_of(question, f"question {number}")})
        if number <= len(answers):
            messages.append({"role": "assistant", "content": text_of(answers[number - 1], f"answer {number}")})
    return messages


def text_of(value: Any, place: str) -> str:
    return fields.require_string({"text": value}, "text", place)


def has_texts(name: str, row: Fields) -> bool:
    """Whether the turns are texts, not objects with roles."""
    turns = row.get(name)
    return isinstance(turns, list) and bool(turns) and all(isinstance(turn, str) for turn in turns)
