"""The files of rows of a data set arrive from the Hub as they were published, and stay readable without it."""

import json
import os

import forked_python
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import serve

from refrain.data import data_cards

ID = "owner/birds"
FETCH = """
import logging, sys
from pathlib import Path
from refrain.experiments import hub_data
from refrain.pipeline.schema import SourceConfig
logging.basicConfig(level=logging.INFO, format="%(message)s")
repository, revision, files, out = sys.argv[1:]
source = SourceConfig(hub=repository, revision=revision, files=files or None)
hub_data.link_dataset(source, Path(out), "data.sources[0]")
"""
CARD = "---\nlicense: cc-by-4.0\nlanguage: [no]\n---\n# Birds\n"
FILES = ["data/test-00000-of-00001.parquet", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]


@pytest.fixture
def birds(tmp_path):
    """A data set as they are published: shards, a card, pictures and a script."""
    folder = tmp_path / "hub" / ID
    (folder / "data").mkdir(parents=True)
    for number, name in enumerate(FILES):
        pq.write_table(pa.Table.from_pylist([{"question": f"Why {number}?", "answer": "é\u2028"}]), folder / name)
    (folder / "README.md").write_text(CARD)
    for name in ("birds.py", "bird.png", ".gitattributes", "dataset_infos.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.fixture
def hub(tmp_path, birds):
    with serve(tmp_path / "hub") as hub:
        yield hub


def fetch(hub, out, revision="main", files="", repository=ID, **environment):
    """hub_data.link_dataset in a process of its own, because the client reads its environment when it is imported."""
    places = {"HF_HOME": str(out.parent / "cache"), "HF_ENDPOINT": hub.endpoint, "PATH": os.environ["PATH"]}
    environment = {**places, **environment}
    return forked_python.run(FETCH, repository, revision, files, str(out), outputs=out.parent, environment=environment)


def links(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def refusal(done):
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1].removeprefix("ValueError: ")


@pytest.mark.heavy
def test_rows_alone_are_fetched_their_size_is_said_before_and_the_commit_is_kept(hub, birds, tmp_path):
    done = fetch(hub, tmp_path / "out")
    commit, size = hub.commit(ID), sum((birds / name).stat().st_size for name in [*FILES, "README.md"])
    assert f"{ID}@main is commit {commit}: 4 files, {size / 1e6:.1f} MB in all\n" in done.stderr
    assert links(tmp_path / "out") == [".source.json", *FILES]
    assert all((tmp_path / "out" / name).read_bytes() == (birds / name).read_bytes() for name in FILES)
    assert sorted(path.split(f"{commit}/")[1] for path in hub.fetched()) == ["README.md", *FILES]
    record = json.loads((tmp_path / "out/.source.json").read_text())
    assert record == {"hub": ID, "revision": "main", "commit": commit}
    assert data_cards.read_cards(tmp_path) == {"out": {"license": ["cc-by-4.0"], "language": ["no"]}}

    asked = len(hub.log)
    assert fetch(hub, tmp_path / "again", HF_HUB_OFFLINE="1").returncode == 0
    assert fetch(hub, tmp_path / "pinned", revision=commit).returncode == 0
    assert links(tmp_path / "again") == links(tmp_path / "pinned") == links(tmp_path / "out")
    assert len(hub.log) == asked  # a commit never moves


@pytest.mark.heavy
def test_only_the_files_that_are_named_are_fetched_and_offline_no_other_is_passed_over(hub, tmp_path):
    assert fetch(hub, tmp_path / "out", files="test").returncode == 0
    assert links(tmp_path / "out") == [".source.json", FILES[0]]
    assert len(hub.fetched()) == 2  # and the card
    assert "unset HF_HUB_OFFLINE once" in refusal(fetch(hub, tmp_path / "all", HF_HUB_OFFLINE="1"))
    assert fetch(hub, tmp_path / "all").returncode == 0
    assert links(tmp_path / "all") == [".source.json", *FILES]


@pytest.mark.heavy
def test_a_branch_that_moved_is_followed_by_hand_but_not_by_a_stage(hub, birds, tmp_path):
    assert fetch(hub, tmp_path / "out", DVC_ROOT="x").returncode == 0
    asked = len(hub.log)
    (birds / "data/validation.jsonl").write_text('{"question": "Why?", "answer": "So."}\n')
    assert fetch(hub, tmp_path / "same", DVC_ROOT="x").returncode == 0
    assert links(tmp_path / "same") == [".source.json", *FILES]
    assert len(hub.log) == asked
    assert fetch(hub, tmp_path / "new").returncode == 0
    assert json.loads((tmp_path / "new/.source.json").read_text())["commit"] == hub.commit(ID)
    assert links(tmp_path / "new") == [".source.json", *FILES, "data/validation.jsonl"]


@pytest.mark.heavy
def test_without_a_connection_the_cache_answers_and_says_so(hub, tmp_path):
    assert fetch(hub, tmp_path / "out").returncode == 0
    alone = fetch(hub, tmp_path / "again", HF_ENDPOINT="http://127.0.0.1:9")
    assert links(tmp_path / "again") == links(tmp_path / "out")
    assert f"no connection to the Hub; {ID}@main is commit {hub.commit(ID)}, as in the cache\n" in alone.stderr
    said = refusal(fetch(hub, tmp_path / "other", revision="v9", HF_ENDPOINT="http://127.0.0.1:9"))
    assert "no connection to the Hub, or it broke off; run again to go on" in said


@pytest.mark.heavy
def test_what_cannot_be_had_is_refused_with_the_key_to_change(hub, birds, tmp_path):
    out = tmp_path / "out"
    assert "no such repository" in (said := refusal(fetch(hub, out, repository="owner/none")))
    assert "data.sources[0].hub" in said
    assert "no such revision; check data.sources[0].revision" in refusal(fetch(hub, out, revision="v9"))
    assert "no file of rows that files=*.csv names; it holds data/test" in refusal(fetch(hub, out, files="*.csv"))
    (birds / "other").mkdir()
    (birds / FILES[1]).rename(birds / "other/train.parquet")
    said = refusal(fetch(hub, out))
    assert "several configurations have files of train, in data, other; choose one beside the hub" in said
    for name in [FILES[0], FILES[2], "other/train.parquet"]:
        (birds / name).unlink()
    assert "rows are made by birds.py, which would have to be run" in refusal(fetch(hub, out))
    assert not hub.fetched() and not out.exists()
