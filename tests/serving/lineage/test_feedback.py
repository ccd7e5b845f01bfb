"""Rows that people give: what is accepted is what prepare learns from, and what is in a file stays whole."""

import json
import os
import subprocess
import sys

import prepare_stage
import pytest

from refrain.serving.lineage import feedback

ASKED = [{"role": "user", "content": "What is fog? \U0001f642 \u2028"}]
ANSWER = {"role": "assistant", "content": "A low cloud."}
LOOK_UP = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "look_up", "arguments": {}}}],
}
CHATS = [
    {"messages": [*ASKED, ANSWER]},
    {"messages": [*ASKED, ANSWER, {"role": "user", "content": "And mist?"}, ANSWER], "label": True},
    {
        "messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Never mind."}],
        "label": False,
    },
    {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}, ANSWER]},
]
PAIRS = [
    {"prompt": ASKED, "chosen": [ANSWER], "rejected": [{"role": "assistant", "content": "No idea."}]},
    {"prompt": "What is snow?", "chosen": "Frozen rain.", "rejected": "Sand."},
    {"prompt": [*ASKED, ANSWER, {"role": "user", "content": "Sure?"}], "chosen": "Yes.", "rejected": "No."},
]
PAIRS_LAST = PAIRS[::-1]


def append_all(file, rows):
    for nth, row in enumerate(rows):
        feedback.append_row(file, feedback.check_row({"id": f"f{nth}", **row}, file))


@pytest.mark.parametrize(
    "rows", [CHATS, CHATS[::-1], PAIRS, PAIRS_LAST], ids=["chats", "votes first", "pairs", "texts first"]
)
def test_no_row_that_was_taken_is_lost_to_prepare(tmp_path, monkeypatch, rows):
    monkeypatch.chdir(tmp_path)
    append_all(tmp_path / "feedback.jsonl", rows)
    lines = (tmp_path / "feedback.jsonl").read_bytes()
    files = prepare_stage.run(("feedback.jsonl", lines, {}), method="dpo" if "chosen" in rows[0] else "kto")
    learned = {row["own_id"]: row for row in files["train"]}
    assert sorted(learned) == [f"f{nth}" for nth in range(len(rows))] and not files["quarantine"]
    for nth, row in enumerate(rows):
        given = learned[f"f{nth}"]
        assert given.get("label") == row.get("label")
        answer = row["messages"][-1] if "messages" in row else row["chosen"]
        answer = answer[0] if isinstance(answer, list) else answer
        assert given["messages"][-1]["content"] == (answer if isinstance(answer, str) else answer["content"])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": ASKED}, "no assistant turn"),
        ({"messages": []}, "no assistant turn"),
        ({"messages": [ANSWER]}, "no user turn"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "  "}]}, "empty"),
        ({"messages": [*ASKED, {"role": "robot", "content": "x"}]}, "robot"),
        ({"messages": [*ASKED, {"role": "assistant", "content": None}]}, "content"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "a\0b"}]}, "NUL"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "\ud83d"}]}, "surrogate"),
        ({"messages": [*ASKED, {"role": "system", "content": "x"}, ANSWER]}, "system turn stands behind"),
        ({"messages": [*ASKED, {**ANSWER, "images": ["x"]}]}, "images"),
        ({"prompt": "What?", "chosen": "Yes.", "rejected": " Yes. "}, "the same text"),
        ({"prompt": "What?", "chosen": "Yes.", "rejected": ""}, "rejected"),
        ({"prompt": [], "chosen": "Yes.", "rejected": "No."}, "no user turn"),
        ({"prompt": "What?", "chosen": [ANSWER, ANSWER], "rejected": "No."}, "chosen"),
    ],
)
def test_what_prepare_would_not_learn_from_is_refused(tmp_path, row, problem):
    with pytest.raises(ValueError, match=problem):
        feedback.check_row({"id": "f", **row}, tmp_path / "feedback.jsonl")


def test_a_line_that_somebody_left_open_is_closed_first(tmp_path):
    file = tmp_path / "feedback.jsonl"
    file.write_text('{"messages": []}')
    feedback.append_row(file, {"id": "f"})
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"messages": []}, {"id": "f"}]


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_what_dvc_keeps_is_not_written_to(tmp_path, link):
    (tmp_path / "cached").write_text("{}\n")
    link(tmp_path / "cached", tmp_path / "feedback.jsonl")
    with pytest.raises(ValueError, match=r"dvc unprotect .*feedback\.jsonl"):
        feedback.append_row(tmp_path / "feedback.jsonl", {"id": "f"})
    assert (tmp_path / "cached").read_text() == "{}\n"


FULL_DISK = """
import resource, sys
from pathlib import Path
from refrain.serving.lineage.feedback import append_row
file = Path(sys.argv[1])
append_row(file, {"id": "x" * 900})
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # no file grows beyond it, as on a full disk
try:
    append_row(file, {"id": "y" * 900})
except OSError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    file = tmp_path / "feedback.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(file)], capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"id": "x" * 900}]
