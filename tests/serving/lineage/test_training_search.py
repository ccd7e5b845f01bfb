"""What is said of a question, held to a judge who shares no code with the search, on rows as awkward as they come."""

import json
import random

import pytest
import split_judge

from refrain.pipeline import manifest
from refrain.serving.lineage import training_index
from refrain.serving.lineage.training_search import TrainingSearch, find_source, read_promise

WORDS = ["ha", "the", "tide", "x", "+", "12", "is", "of", "moon", "caf\u00e9", "\u6f6e", "what", "river", "I\u0307"]
LOCK = {"near_duplicate_threshold": 0.8, "ngram_size": 3}


def chat(rng, nth):
    turns = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        asked = (
            rng.choice(["", "", "Hi! "]) + " ".join(rng.choices(WORDS, k=rng.randint(1, 12))) + rng.choice(["", "?"])
        )
        turns += [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": rng.choice(["Yes.", "", "Ha " * 9])},
        ]
    system = [{"role": "system", "content": "Be brief."}] if nth % 5 == 0 else []
    return {"id": f"0-a.jsonl:{nth + 1}", "messages": [*system, *turns]}


def write_splits(folder, train, val=(), test=()):
    folder.mkdir(exist_ok=True)
    for name, rows in (("train", train), ("val", val), ("test", test)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return folder


def row(question, nth=1, answer="Yes."):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"id": f"0-a.jsonl:{nth}", "messages": turns}


CHAT = row("what is the moon made of today", 1, "Rock, and dust on top of it.")
CHAT["messages"] += row("and who has been there before us", 1, "Twelve.")["messages"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(
        json.dumps({"stages": {"prepare": {"params": {"params.yaml": {"data": {"leaks": LOCK}}}}}})
    )
    return tmp_path


def ask(folder, *texts, limit=5, learned=None):
    search = TrainingSearch(folder)
    found = [search.search(text, limit, learned) for text in texts]
    search.close()
    return found


def test_whatever_a_judge_calls_the_same_or_near_is_found(here):
    rng = random.Random(3)
    rows = [chat(rng, nth) for nth in range(150)]
    questions = [rng.choice(one["messages"])["content"] for one in rows[:60]]
    questions = [rng.choice(["", "", "tide "]) + text for text in questions if len(text.split()) > 2]
    found = ask(write_splits(here / "prepared", rows), *questions, limit=len(rows))
    messages, num_found = [one["messages"] for one in rows], 0
    for text, answer in zip(questions, found, strict=True):
        asked = [{"role": "user", "content": text}, {"role": "assistant", "content": "-"}]
        leaks = split_judge.find_leaks(messages, [asked])
        same = {rows[at]["id"] for why, at, _ in leaks if why == "asked"}
        near = {rows[at]["id"] for why, at, _ in leaks if why != "asked"}
        matches = {one["id"]: one["match"] for one in answer["nearest"]}
        assert all(matches[one] == "same" for one in same) and all(matches[one] for one in near)
        assert (answer["asked_in"] is not None) == any(matches.values())
        num_found += len(same | near)
    assert num_found > 40


@pytest.mark.parametrize(
    ("text", "split", "match"),
    [
        ("What is a TIDE, and  why\nis there one", "train", "same"),
        ("Hello! What is a tide, and why is there one?", "train", "same"),
        ("what is a tide and why is there one please, at the sea", None, None),
        (
            "what is a moon and who has seen it there in all of these long nights of the winter, do you know",
            "test",
            "near",
        ),
        ("tide", None, None),
        ("Thanks!", "train", "same"),
        ("", None, None),
        ("\ud83d", None, None),
        ("?!", None, None),
    ],
)
def test_a_question_is_found_where_it_was_asked(here, text, split, match):
    train = [row("What is a tide, and why is there one?"), row("thanks", 2)]
    moon = row("what is a moon and who has seen it there in all of these long nights of the winter, do you ask?", 3)
    (found,) = ask(write_splits(here / "prepared", train, test=[moon]), text)
    asked = found["asked_in"] or {"split": None, "match": None}
    assert (asked["split"], asked["match"]) == (split, match)


@pytest.mark.parametrize(
    ("rows", "text", "match"),
    [
        ([row("so we go and go and go")], "so we go and go and go and go", "near"),  # by runs of words with their ends
        ([row("what is the moon like there")], "what + is - the * moon / like = there", "near"),  # without symbols
        ([CHAT], "what is the moon made of today and who has been there before us", "near"),  # by what the user says
        ([CHAT], "and who has been there before us", "same"),
        ([row("When did people build the tower of Pisa?")], "Who painted the tower of Pisa?", None),
    ],
)
def test_near_is_what_prepare_calls_near(here, rows, text, match):
    (found,) = ask(write_splits(here / "prepared", rows), text)
    assert (found["asked_in"] or {"match": None})["match"] == match


def test_the_nearest_rows_are_those_that_share_rare_words(here):
    rows = [row(f"what is the number {nth} of the house", nth) for nth in range(1, 40)]
    rows.append(row("Why do whales sing?", 40, "Whales sing to find each other."))
    (found,) = ask(write_splits(here / "prepared", rows), "the song of whales", limit=2)
    first, second = found["nearest"]
    assert (first["id"], first["answer"]) == ("0-a.jsonl:40", "Whales sing to find each other.")
    assert 0 < second["score"] < first["score"] < 1 and first["match"] is None
    (itself,) = ask(here / "prepared", "Why do whales sing? Whales sing to find each other.", limit=1)
    assert itself["nearest"][0]["score"] == 1.0


def test_new_rows_are_seen_and_whose_data_they_are_is_said(here):
    folder = write_splits(here / "prepared", [row("What is fog in the valley?")])
    learned = {file.name: manifest.file_sha256(file) for file in folder.iterdir()}
    search = TrainingSearch(folder)
    before = search.search("What is snow on the hill?", 5, learned)
    write_splits(here / "new", [row("What is snow on the hill?")])
    for file in (here / "new").iterdir():
        file.replace(folder / file.name)
    after = search.search("What is snow on the hill?", 5, learned)
    search.close()
    assert before["asked_in"] is None and before["is_data_of_model"] is True
    assert after["asked_in"]["split"] == "train" and after["is_data_of_model"] is False


def test_an_index_has_its_bounds_and_says_so(here, monkeypatch):
    monkeypatch.setattr(training_index, "BATCH_ROWS", 10)
    monkeypatch.setattr(training_index, "MAX_ROWS", 25)
    train = [row(f"What is in the box of number {nth}?", nth) for nth in range(1, 41)]
    held_out = [row("Which colour has the sky at night?", 1)]
    (found,) = ask(write_splits(here / "prepared", train, test=held_out), "Which colour has the sky at night?")
    assert (found["indexed"], found["rows"]) == (20, 41)
    assert found["asked_in"]["split"] == "test"  # what was held out is never left out


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "1"}', '{"messages": []}', "null", "\xff"])
def test_a_file_that_is_none_of_prepare_is_named(here, line):
    folder = write_splits(here / "prepared", [row("What is fog?")])
    (folder / "train.jsonl").write_text(json.dumps(row("What?")) + "\n" + line + "\n", encoding="latin-1")
    with pytest.raises(ValueError, match=r"train\.jsonl: byte \d+ begins no prepared row; `dvc checkout"):
        ask(folder, "What is fog?")


def test_without_any_rows_nothing_is_found(here):
    (found,) = ask(write_splits(here / "prepared", []), "What is fog?")
    assert (found["asked_in"], found["nearest"], found["rows"]) == (None, [], 0)


def test_a_row_is_traced_to_its_file_and_line(here):
    (here / "data/raw/notes").mkdir(parents=True)
    (here / "data/linked").mkdir()
    (here / "data/raw/a.jsonl").touch()
    (here / "data/linked/0-a.jsonl").symlink_to("../raw/a.jsonl")
    (here / "data/linked/1-notes").symlink_to("../raw/notes")
    (here / "data/linked/2-away.csv").symlink_to("/dev/null")
    assert find_source("0-a.jsonl:12") == ("data/raw/a.jsonl", 12)
    assert find_source("0-a.jsonl:12.2/3#noise") == ("data/raw/a.jsonl", 12)
    assert find_source("1-notes/b:c.csv:7") == ("data/raw/notes/b:c.csv", 7)
    assert find_source("2-away.csv:1") == ("data/linked/2-away.csv", 1)  # no path of this machine
    assert find_source("strange") == ("strange", None)


def test_a_clone_without_links_finds_the_file_in_its_configuration(here):
    (here / "data/raw/notes").mkdir(parents=True)
    (here / "data/raw/a.jsonl").touch()
    (here / "data/raw/notes/b.csv").touch()
    sources = [{"path": "a.jsonl"}, {"path": "notes"}, {"hub": "owner/name"}]
    (here / "params.yaml").write_text(json.dumps({"data": {"folder": "data/raw", "sources": sources}}))
    assert find_source("0-a.jsonl:12") == ("data/raw/a.jsonl", 12)
    assert find_source("1-notes/b.csv:7") == ("data/raw/notes/b.csv", 7)
    for name in ("0-other.jsonl", "1-notes/c.csv", "2-name/d.csv", "9-a.jsonl", "a.jsonl"):
        assert find_source(f"{name}:1") == (f"data/linked/{name}", 1)


@pytest.mark.parametrize("text", ["", "{", "stages: {}", "stages: {prepare: {params: 1}}"])
def test_without_a_record_of_prepare_nothing_is_called_near(tmp_path, text):
    (tmp_path / "dvc.lock").write_text(text)
    assert read_promise(tmp_path / "dvc.lock").near_duplicate_threshold is None
