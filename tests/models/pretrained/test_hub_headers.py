"""Of a repository everything is known that can be without its weights, and these are not fetched."""

import os
import shutil

import forked_python
import pytest
from hub_server import serve
from safetensors.numpy import load_file, save_file

from refrain.models.pretrained import facts
from refrain.models.pretrained.preflight import headers

ID = "owner/tiny-chat"
FETCH = (
    "import sys; from pathlib import Path; from refrain.models.pretrained import hub_headers\n"
    "print(hub_headers.fetch_outline(sys.argv[1], sys.argv[2], Path(sys.argv[3])))"
)
CHECK = (
    "import sys; from refrain.models.pretrained import hub_headers\n"
    "with hub_headers.checked_outline(sys.argv[1], sys.argv[2]) as folder: print(folder)"
)


@pytest.fixture
def hub(tmp_path, base):
    shutil.copytree(base, tmp_path / "hub" / ID)
    with serve(tmp_path / "hub") as hub:
        yield hub


def fetch(hub, out, repository=ID, revision="main", code=FETCH, **environment):
    """In a process of its own, because the client reads its environment when it is imported."""
    out.mkdir()
    places = {"HF_HOME": str(out.parent / "cache"), "HF_ENDPOINT": hub.endpoint, "PATH": os.environ["PATH"]}
    environment = {**places, **environment}
    return forked_python.run(code, repository, revision, str(out), outputs=out.parent, environment=environment)


def test_an_outline_has_the_facts_of_the_model_and_none_of_its_weights(hub, base, tmp_path):
    done = fetch(hub, tmp_path / "out")
    assert (done.returncode, done.stdout.strip()) == (0, hub.commit(ID)), done.stderr
    assert facts.read_facts(tmp_path / "out") == facts.read_facts(base)
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    asked = [request.range for request in hub.log if request.path.endswith(".safetensors") and request.method == "GET"]
    assert asked == ["bytes=0-100000"]


def test_a_header_longer_than_the_first_answer_is_read_whole(hub, base, tmp_path):
    path = tmp_path / "hub" / ID / "model.safetensors"
    header = headers.read_header(path)
    headers.write_without_values(path, {**header, "__metadata__": {"card": "x" * 150_000}})
    assert fetch(hub, tmp_path / "out").returncode == 0
    assert facts.read_facts(tmp_path / "out").parameters == facts.read_facts(base).parameters


@pytest.mark.parametrize(
    ("repository", "revision", "words"),
    [("owner/none", "main", "owner/none@main: no such repository"), (ID, "v9", f"{ID}@v9: no such revision")],
)
def test_what_the_hub_does_not_have_is_one_sentence(hub, tmp_path, repository, revision, words):
    done = fetch(hub, tmp_path / "out", repository, revision)
    assert done.returncode == 1 and words in done.stderr.splitlines()[-1]


@pytest.mark.heavy
def test_a_base_that_cannot_go_the_whole_way_is_refused_before_its_weights_are_fetched(hub, tmp_path):
    path = tmp_path / "hub" / ID / "model.safetensors"
    save_file({name: tensor for name, tensor in load_file(path).items() if name != "lm_head.weight"}, path)
    done = fetch(hub, tmp_path / "out", code=CHECK)
    assert done.returncode == 1
    assert f"{ID}@main: model.safetensors: lm_head.weight, which config.json" in done.stderr.splitlines()[-1]
    asked = [request.range for request in hub.log if request.path.endswith(".safetensors") and request.method == "GET"]
    assert asked == ["bytes=0-100000"]
