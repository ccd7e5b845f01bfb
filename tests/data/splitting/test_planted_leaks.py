"""Fifty leaks of ten kinds, planted in five thousand rows: all are found, and hardly anything else."""

import random

import prepare_stage
import pytest
from prepare_stage import qa

KINDS = {
    "word for word": lambda asked, rng: qa(asked, "Another answer."),
    "in other case": lambda asked, rng: qa(asked.upper()),
    "with other white space": lambda asked, rng: qa("\n " + asked.replace(" ", " \u00a0\n", 9)),
    "with other punctuation": lambda asked, rng: qa("\u201c" + asked.replace(" ", ", ", 5).replace("?", "\u201d !?")),
    "in full width": lambda asked, rng: qa("".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in asked)),
    "with a word changed": lambda asked, rng: qa(" ".join([*asked.split()[:20], "zebra", *asked.split()[21:]])),
    "with words before": lambda asked, rng: qa("Well, dear friend: " + asked),
    "within a longer question": lambda asked, rng: qa(f"{text(rng, 60)} {asked} {text(rng, 60)}"),
    "in an answer": lambda asked, rng: qa(text(rng, 20), f"You may ask: {asked} {text(rng, 30)}"),
    "as a preference": lambda asked, rng: {"prompt": asked, "chosen": "Yes, gladly.", "rejected": "No."},
}
OPENINGS = [
    "",
    "Could you please explain to me in a few simple words why",
    "Answer the question as briefly as you can.",
]
WORDS = [f"{a}{b}{c}" for a in ("ba", "ne", "ri", "to", "sul") for b in ("", "ka", "mi", "lor") for c in "abcdefghijkl"]


def text(rng, count):
    """Words of which some are much more frequent than others."""
    return " ".join(WORDS[min(int(rng.paretovariate(0.6)) - 1, len(WORDS) - 1)] for _ in range(count))


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return prepare_stage.run


@pytest.mark.heavy
def test_fifty_planted_leaks_of_ten_kinds_are_found_and_few_other_rows_are_lost(prepare):
    rng = random.Random(5)
    exam = [f"{rng.choice(OPENINGS)} {text(rng, 35)} item{n}?".strip() for n in range(300)]
    rows = [("", qa(f"{rng.choice(OPENINGS)} {text(rng, rng.randint(3, 60))}?", text(rng, 40))) for _ in range(4950)]
    rows += [(kind, leak(exam[5 * k + n], rng)) for k, (kind, leak) in enumerate(KINDS.items()) for n in range(5)]
    rng.shuffle(rows)
    plain = [(kind, row) for kind, row in rows if "prompt" not in row]
    pairs = [(kind, row) for kind, row in rows if "prompt" in row]
    files = prepare(
        ("rows.jsonl", [row for _, row in plain], {}),
        ("pairs.jsonl", [row for _, row in pairs], {}),
        ("exam.jsonl", [qa(asked, "Known.") for asked in exam], {"split": "test"}),
    )
    assert len(files["test"]) == 300
    kinds = {f"{number}-{name}.jsonl:{line}": kind for number, name, listed in ((0, "rows", plain), (1, "pairs", pairs))
             for line, (kind, _) in enumerate(listed, 1)}  # fmt: skip
    found = {row["id"]: row for row in files["duplicates"]}
    missed = sorted(kind for id, kind in kinds.items() if kind and id not in found)
    false = [row for id, row in found.items() if not kinds[id] and row["reason"] != "duplicate"]
    assert missed == []
    assert len(false) < 50
    assert {found[id]["reason"] for id, kind in kinds.items() if kind} == {"exact_leak", "near_leak", "contaminated"}
    assert all(row["of"].startswith("2-exam.jsonl:") for id, row in found.items() if kinds[id])
