"""The first table of the results takes its numbers from the tables below it."""

import pytest

from benchmarks import results
from benchmarks.harness import goals
from benchmarks.harness.goals import Goal

PAGE = """`python -m benchmarks.serve KEEP`, commit 0123abc, 5 min:

| bits | clients | tokens/s | x |
|---|---:|---:|---:|
| int8 | 1 | 145 | 1.36 (1.20 to 1.40) |
| | 8 | 1,389 | 1.96 |
| int4 | 1 | 177 | does not run |

| what | seconds |
|---|---:|
| 8 | 0.05 |
"""


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
    assert goals.find_cell(PAGE, row, column) == cell


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [
        (Goal("", "", 1.5, "serve", "int8 8", "x"), "yes"),
        (Goal("", "", 1.37, "serve", "int8 1", "x"), "no"),
        (Goal("", "", 1300, "serve", "int8 8", "tokens/s"), "yes"),
        (Goal("", "", 0.05, "serve", "8", "seconds", is_at_most=True), "yes"),
        (Goal("", "", 0.04, "serve", "8", "seconds", is_at_most=True), "no"),
        (Goal("", "", 1, "serve", "int4 1", "x"), ""),
        (Goal("", "", 1, "train", "int4 1", "x"), ""),
    ],
)
def test_a_goal_is_reached_by_the_first_number_of_its_cell(goal, verdict):
    assert goals.line(goal, {"serve": PAGE})[4] == verdict


@pytest.mark.parametrize("goal", goals.GOALS, ids=lambda goal: goal.what)
def test_each_goal_finds_its_number_on_the_page(goal):
    blocks = results.read_blocks(results.PAGE.read_text(encoding="utf-8"))
    assert goals.find_cell(blocks[goal.block].text, goal.row, goal.column)


def test_a_block_knows_its_command_its_commit_and_its_code():
    page = f"# Results\n\n<!-- begin serve: refrain/serving conf -->\n{PAGE}<!-- end serve -->\n"
    block = results.read_blocks(page)["serve"]
    assert (block.command, block.commit) == ("python -m benchmarks.serve KEEP", "0123abc")
    assert block.paths == ["refrain/serving", "conf"] and block.text == PAGE
