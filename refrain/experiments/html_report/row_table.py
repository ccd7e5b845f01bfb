"""All rows with the answers of each model: sorted and filtered by the page's script, the first of them without it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refrain.experiments.html_report import word_differences
from refrain.experiments.html_report.markup import escape, json_block, tag

PIECE = 100  # rows that are drawn at once
WRONG = "An answer is wrong here where it is not the reference word for word."


@dataclass(frozen=True)
class AnswerRow:
    """A test row: what was asked, what was to be said, and what each model said, with its score."""

    id: str
    question: str
    reference: str
    answers: Mapping[str, str]  # by model, the same models in the same order in each row
    scores: Mapping[str, float]  # by model, from 0 to 1


@dataclass(frozen=True)
class Answer:
    """What one or more models said."""

    text: str
    pieces: list[str]
    score: float
    models: list[int]
    is_exact: bool


def row_table(rows: Sequence[AnswerRow], score: str, chosen: str, apart: str = "") -> str:
    """The table, worst first by the `score` of the model `chosen`; `apart` differs from the others anyway."""
    models = list(rows[0].answers) if rows else []
    answers = [group_answers(row) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (rows[i].scores[chosen], i))
    first = "".join(render_row(rows[i], answers[i], models, chosen) for i in order[:PIECE])
    data = {
        "models": models,
        "chosen": models.index(chosen) if models else 0,
        "apart": models.index(apart) if apart in models else -1,
        "piece": PIECE,
        "score": score,
        "rows": [pack_row(row, said) for row, said in zip(rows, answers, strict=True)],
    }
    legend = tag("p", f"{escape(WRONG)} Against the reference, {tag('ins', 'words added')} are underlined and "
                      f"{tag('del', 'words missing')} struck through; an answer that shares few words with it has a "
                      "line beside it.", class_="hint")  # fmt: skip
    without = f"Sorting, searching{' and all rows beyond these' if len(rows) > PIECE else ''} need JavaScript."
    shown = describe_count(min(PIECE, len(rows)), len(rows), len(rows))
    return tag(
        "div",
        legend
        + tag("p", without, class_="hint without-script")
        + controls(models, chosen, apart if apart in models else "")
        + tag("p", shown, class_="count", role="status")
        + tag("table", header(score, chosen) + tag("tbody", first))
        + tag("p", tag("button", f"Show {PIECE} more", type="button", class_="more"), class_="acts", hidden="")
        + json_block(data),
        class_="answers",
    )


def describe_count(shown: int, matching: int, total: int) -> str:
    """As the script says it."""
    filtered = f", filtered from {total:,}" if matching < total else ""
    return f"{shown:,} of {matching:,} rows{filtered}"


def controls(models: Sequence[str], chosen: str, apart: str) -> str:
    options = "".join(
        tag("option", escape(name), value=i, selected="" if name == chosen else None) for i, name in enumerate(models)
    )
    others = f"models other than {apart}" if apart else "models"
    fields = [
        tag("label", f"Search {tag('input', type='search', name='search', autocomplete='off')}", class_="search"),
        tag("label", f"Score of {tag('select', options, name='model')}"),
        tag("label", f"{tag('input', type='checkbox', name='wrong')} Only wrong"),
        tag("label", f"{tag('input', type='checkbox', name='differ')} Only where {escape(others)} differ"),
    ]
    return tag("form", "".join(fields), class_="controls", aria_label="Rows", hidden="")


def header(score: str, chosen: str) -> str:
    """The names of the columns; the script makes those that sort buttons."""
    cells = [
        tag("th", "Row", scope="col", data_sort="row"),
        tag("th", "Question and reference", scope="col", data_sort="question"),
        tag("th", "Answers", scope="col"),
        tag("th", f"{escape(score)} of {tag('span', escape(chosen), class_='chosen')}", scope="col",
            class_="number", data_sort="score", aria_sort="ascending"),
    ]  # fmt: skip
    caption = tag("caption", "Test rows with the answers of each model", class_="unseen")
    return caption + tag("thead", tag("tr", "".join(cells)))


def render_row(row: AnswerRow, answers: Sequence[Answer], models: Sequence[str], chosen: str) -> str:
    asked = tag("p", escape(row.question), class_="question", dir="auto")
    asked += tag("p", escape(row.reference), class_="reference", dir="auto")
    said = "".join(render_answer(answer, models) for answer in answers)
    return tag(
        "tr",
        tag("th", escape(row.id), scope="row")
        + tag("td", asked)
        + tag("td", said)
        + tag("td", f"{row.scores[chosen]:.2f}", class_="number"),
    )


def render_answer(answer: Answer, models: Sequence[str]) -> str:
    names = ", ".join(models[i] for i in answer.models)
    marked = "".join(map(word_differences.mark_piece, answer.pieces)) or tag("i", "nothing")
    is_other = len(answer.pieces) == 1 and answer.pieces[0][0] == word_differences.ADDED
    said = tag("p", marked, class_="other" if is_other else "said", dir="auto")
    return tag("p", f"{escape(names)} {describe_score(answer)}", class_="names") + said


def describe_score(answer: Answer) -> str:
    return "= reference" if answer.is_exact else f"{answer.score:.2f}"


def group_answers(row: AnswerRow) -> list[Answer]:
    """Each answer once, with the models that gave it."""
    models: dict[str, list[int]] = {}
    for i, text in enumerate(row.answers.values()):
        models.setdefault(text.strip(), []).append(i)
    names = list(row.answers)
    return [
        Answer(text, word_differences.find_differences(row.reference, text), row.scores[names[of[0]]], of,
               text == row.reference.strip())
        for text, of in models.items()
    ]  # fmt: skip


def pack_row(row: AnswerRow, answers: Sequence[Answer]) -> list[Any]:
    said = [[answer.models, round(answer.score, 6), int(answer.is_exact), answer.pieces] for answer in answers]
    return [row.id, row.question, row.reference, said]
