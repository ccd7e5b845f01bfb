"""Questions about a passage of text: the passage and the question are the prompt, the first answer is the reply."""

from collections.abc import Iterator
from typing import Any

from refrain.chat.records import Message
from refrain.data.shapes import fields
from refrain.data.shapes.conversations import Conversation, ParseResult, try_parse
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields


def parse_articles(row: Fields) -> Iterator[ParseResult]:
    """One conversation for each question about each paragraph."""
    for number, value in enumerate(fields.require_list(row, "paragraphs"), start=1):
        try:
            paragraph = fields.require_object(value, f"paragraph {number}")
            questions = fields.require_list(paragraph, "qas", f"paragraph {number}")
        except RowError as error:
            yield error
            continue
        for nth, question in enumerate(questions, start=1):
            yield try_parse(parse_question, paragraph, question, f"question {nth} of paragraph {number}")


def parse_question(paragraph: Fields, value: Any, place: str) -> Conversation:
    question = fields.require_object(value, place)
    context = {"context": paragraph["context"]} if "context" in paragraph else {}
    conversation = parse_passage({**question, **context}, place)
    if isinstance(question.get("id"), str):
        conversation["own_id"] = fields.require_string(question, "id", place)
    return conversation


def parse_passage(row: Fields, place: str = "the row") -> Conversation:
    """The context, a blank line and the question; rows about one context are a group."""
    context, question = fields.require_text(row, "context", place), fields.require_text(row, "question", place)
    answers = parse_answers(fields.require(row, "answers", place), place)
    if row.get("is_impossible") is True and answers:
        raise RowError("contradiction", f"{place} is said to have no answer, and has one")
    if not answers:
        raise RowError("unanswerable", f"{place} has no answer in its context")
    reply = fields.require_text(answers[0], "text", f"the first answer of {place}")
    start = fields.require(answers[0], "answer_start", f"the first answer of {place}")
    if type(start) is not int or start < 0 or not context.startswith(reply, start):
        raise RowError("wrong_offset", f"the first answer of {place} does not begin at character {start!a:.20}")
    prompt: Message = {"role": "user", "content": f"{context}\n\n{question}"}
    return {"messages": [prompt, {"role": "assistant", "content": reply}], "group": context}


def parse_answers(value: Any, place: str) -> list[Fields]:
    """Answers in a list of objects, or in an object of lists."""
    if isinstance(value, list):
        return [fields.require_object(answer, f"an answer of {place}") for answer in value]
    columns = fields.require_object(value, f"answers of {place}")
    texts, starts = (fields.require_list(columns, name, f"answers of {place}") for name in ("text", "answer_start"))
    if len(texts) != len(starts):
        raise RowError("contradiction", f"{place} has {len(texts)} answers, and {len(starts)} places where they begin")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def has_texts(row: Fields) -> bool:
    """Whether answers are texts alone, which do not say where they stand."""
    answers = row.get("answers")
    return any(map(is_text_alone, answers if isinstance(answers, list) else [answers]))


def is_text_alone(answer: Any) -> bool:
    return isinstance(answer, str) or (isinstance(answer, dict) and "text" in answer and "answer_start" not in answer)


def has_offsets(row: Fields) -> bool:
    return not has_texts(row)


def has_questions(row: Fields) -> bool:
    """Whether paragraphs are those of an article with questions."""
    paragraphs = row.get("paragraphs")
    return isinstance(paragraphs, list) and any(isinstance(part, dict) and "qas" in part for part in paragraphs)
