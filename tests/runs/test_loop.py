"""The circle of docs/loop.md, walked once: served, corrected, learned, compared, published, reloaded."""

import json
import re
import shutil
import subprocess
import sys

import httpx
import pipeline_repository
import pytest

from refrain.chat import records
from refrain.pipeline import manifest, paths

pytestmark = pytest.mark.slow
NEXT = ("-S", "method=continue", "-S", "method.init_adapter=v1", "-S", "data=feedback", "-S", "train.epochs=2")


@pytest.fixture
def bench(finished_pipeline, tmp_path):
    """A repository whose run is v1, with a preset of its own rows and of feedback behind them."""
    folder = shutil.copytree(finished_pipeline, tmp_path / "repository", symlinks=True)
    sources = [{"path": "small.csv"}, {"path": "small.jsonl"}, {"path": "small-test.jsonl", "split": "test"}]
    values = {"name": "feedback", "sources": [*sources, {"path": "feedback*.jsonl", "split": "train"}]}
    pipeline_repository.preset(folder / "conf/data/feedback.yaml", "small", values)
    pipeline_repository.commit(folder)
    pipeline_repository.dvc(folder, "repro", "compose")  # it follows conf/, and changes nothing
    pipeline_repository.run(folder, "git", "commit", "-qam", "Follow conf")
    pipeline_repository.run(folder, "git", "tag", "v1")
    return folder


@pytest.fixture
def server(bench, tmp_path):
    """A client of a server over what was published, started in the repository."""
    refrain(bench, "publish", str(tmp_path / "served"))
    command = [sys.executable, "-m", "refrain.cli.main", "serve", "--model", str(tmp_path / "served"), "--port", "0"]
    environment = pipeline_repository.surroundings(bench)
    process = subprocess.Popen(command, cwd=bench, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        url = re.match(r"(http://\S+) serves", process.stdout.readline())[1]
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
    finally:
        process.kill()
        process.communicate()


def refrain(folder, *arguments, **settings):
    """What a command of ours said."""
    return pipeline_repository.run(folder, sys.executable, "-m", "refrain.cli.main", *arguments, **settings)


def first_question(folder, file):
    return json.loads((folder / "data/raw" / file).read_text().splitlines()[0])["question"]


def correct(client, question, answer, **vote):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return client.post("/v1/refrain/feedback", json={"messages": turns, **vote}).raise_for_status().json()["id"]


def prefer(client, question, chosen, rejected):
    row = {"prompt": question, "chosen": chosen, "rejected": rejected}
    return client.post("/v1/refrain/feedback", json=row).raise_for_status().json()["id"]


def seal_of_answer(client):
    body = {"messages": [{"role": "user", "content": "Why reed?"}], "temperature": 0, "max_tokens": 8}
    return client.post("/v1/chat/completions", json=body).raise_for_status().json()["refrain"]["seal"]


def from_feedback(folder, split):
    """The rows of a file of data/prepared that people said."""
    rows = records.read_rows(folder / paths.PREPARED / f"{split}.jsonl")
    return [row for row in rows if "feedback" in row["id"]]


def test_what_people_say_is_learned_compared_published_and_served(bench, server, tmp_path):
    old, tests = seal_of_answer(server), (bench / paths.PREPARED / "test.jsonl").read_bytes()
    correct(server, "Why kelp and reed?", "otter")
    correct(server, "Who is grove?", "reed", label=True)
    correct(server, "Who is amber?", "kelp", label=False)
    correct(server, first_question(bench, "small-test.jsonl"), "frost")  # held out: to learn it would be a leak
    prefer(server, "Who is ember?", "heron", "inlet")

    pipeline_repository.dvc(bench, "exp", "run", *NEXT)
    assert (bench / paths.PREPARED / "test.jsonl").read_bytes() == tests
    assert len(from_feedback(bench, "train")) == 3, "two corrections and a pair"
    assert [row["reason"] for row in from_feedback(bench, "duplicates")] == ["exact_leak"]
    assert [row["reason"] for row in from_feedback(bench, "quarantine")] == ["bad_reply"]

    gate = json.loads(refrain(bench, "compare", "workspace", "v1", "--fail-if", "worse", "--json"))
    [comparison] = gate["comparisons"]
    assert (comparison["rows"], comparison["only_candidate"], comparison["only_baseline"]) == (4, 0, 0)
    pipeline_repository.commit(bench)
    refrain(bench, "publish", str(tmp_path / "served"))
    assert seal_of_answer(server) == old, "until it is told, it answers as before"
    server.post("/v1/refrain/reload").raise_for_status()
    assert seal_of_answer(server) != old
    assert not manifest.find_problems(tmp_path / "served")
