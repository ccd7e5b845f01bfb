"""The first table of the results takes its numbers from the tables below it."""

import pytest

from benchmarks import results
from benchmarks.harness import goals, machine
from benchmarks.harness.goals import Goal

TABLES = """| bits | clients | tokens/s | x |
|---|---:|---:|---:|
| int8 | 1 | 145 | 1.36 (1.20 to 1.40) |
| | 8 | 1,389 | 1.96 |
| int4 | 1 | 177 | does not run |

| what | seconds |
|---|---:|
| 8 | 0.05 |
"""
BLOCKS = results.read_blocks(results.PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("row", "column", "cell"),
    [
        ("int8 1", "x", "1.36 (1.20 to 1.40)"),
        ("int8 8", "tokens/s", "1,389"),
        ("int4 1", "x", "does not run"),
        ("8", "seconds", "0.05"),
        ("int8 32", "x", None),
        ("int8 1", "seconds", None),
    ],
)
def test_a_cell_is_found_by_the_cells_before_it_and_by_its_column(row, column, cell):
    assert goals.find_cell(TABLES, row, column) == cell


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [
        (Goal("", "", 1.5, "serve", "int8 8", "x"), "yes: 1.96"),
        (Goal("", "", 1.37, "serve", "int8 1", "x"), "no: 1.36 (1.20 to 1.40)"),
        (Goal("", "", 1300, "serve", "int8 8", "tokens/s"), "yes: 1,389"),
        (Goal("", "", 0.05, "serve", "8", "seconds", is_at_most=True), "yes: 0.05"),
        (Goal("", "", 0.04, "serve", "8", "seconds", is_at_most=True), "no: 0.05"),
        (Goal("", "", 1, "serve", "int4 1", "x"), "does not run"),
        (Goal("", "", 1, "serve", "int8 32", "x"), "-"),
    ],
)
def test_a_goal_is_reached_by_the_first_number_of_its_cell(goal, verdict):
    assert goals.verdict(goal, TABLES) == verdict


def test_a_goal_has_a_cell_for_each_processor():
    goal = Goal("prompts", "genai", 1.5, "serve", "int8 8", "x", is_at_most=True)
    texts = {"serve": {"Zen 5": TABLES, "Zen 3": TABLES.replace("1.96", "1.46")}}
    cells = ["no: 1.96", "-", "yes: 1.46"]
    assert goals.line(goal, texts, ["Zen 5", "Zen 4", "Zen 3"]) == ["prompts", "genai", "at most 1.5", *cells, "serve"]


def test_the_table_has_the_processors_of_blocks_that_goals_speak_of():
    texts = {"serve": {"Zen 2": TABLES}, "decode": {"Zen 5": ""}, "train": {"Zen 3": "", "Zen 5": ""}}
    assert goals.table(texts)[0] == ["what", "against", "wanted", "Zen 5", "Zen 3", "numbers"]


@pytest.mark.parametrize(
    ("processor", "name"),
    [
        ("AMD EPYC (family 26, model 2)", "Zen 5"),
        ("AMD EPYC 7763 (family 25, model 1)", "Zen 3"),
        ("AMD EPYC 9654 (family 25, model 17)", "Zen 4"),
        ("AMD EPYC (family 25, model 99)", "AMD EPYC"),
        ("Intel Xeon (family 26, model 2)", "Intel Xeon"),
    ],
)
def test_a_processor_goes_by_its_generation_or_by_its_own_name(processor, name):
    assert machine.short_name(processor) == name


@pytest.mark.parametrize("goal", goals.GOALS, ids=lambda goal: goal.what)
def test_each_goal_finds_its_number_in_every_run_of_its_block(goal):
    block = BLOCKS[goal.block]
    runs = [run for run in block.runs if run.command == block.command]  # not those of an older command
    contenders = [name for name in (goal.row, goal.against.lower()) if name]
    runs = [run for run in runs if not any(f"| {name} | does not run: " in run.text for name in contenders)]
    assert all(goals.find_cell(run.text, goal.row, goal.column) for run in runs)


def test_the_first_table_says_what_the_others_say():
    text = results.PAGE.read_text(encoding="utf-8")
    assert results.glance(BLOCKS) == text.split("<!-- begin glance: -->\n")[1].split("<!-- end glance -->")[0]
