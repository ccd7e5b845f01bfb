"""What is published is whole, says what it is, and opens elsewhere; what must not leave stays here, with a reason."""

import json
import shutil

import exported_workspace
import hub_server
import pytest
from huggingface_hub import ModelCard, constants, file_download, snapshot_download
from safetensors.numpy import load_file

import refrain
from refrain.cli import main
from refrain.pipeline import git, manifest, paths

PLACE = "/{repo_id}/resolve/{revision}/{filename}"
TOKEN, NAME = "hf_" + "aB3" * 12, "birds/wren"
pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def finished(base, adapter, rows, fitting, tmp_path_factory):
    """A workspace after a whole run, committed: to be copied."""
    folder = tmp_path_factory.mktemp("finished") / "repository"
    folder.mkdir()
    return exported_workspace.commit(exported_workspace.export(folder, base, adapter, rows, fitting))


@pytest.fixture
def here(finished, tmp_path, monkeypatch):
    """The workspace, to stand in."""
    folder = shutil.copytree(finished, tmp_path / "repository")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def publish(here, capsys):
    """A function that runs the command, and gives its exit code with all that it said."""

    def run(*arguments):
        code = main.main(["publish", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on which this token may write as birds."""
    with hub_server.serve(tmp_path / "hub") as server:
        server.writers[TOKEN] = "birds"
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.endpoint}{PLACE}")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def names(folder):
    return sorted(manifest.list_files(folder))


def published(here, *variants):
    """The names of the files that are published of these variants."""
    own = ["LICENSE.txt", "README.md", "manifest.json"]
    return sorted([*own, *(f"{each}/{name}" for each in variants for name in names(here / paths.ONNX / each))])


def changes(server, method="POST"):
    return [request.path for request in server.log if request.method == method]


def test_a_folder_is_whole_and_opens_elsewhere_with_the_same_words(publish, here, tmp_path, capsys):
    out = tmp_path / "new/wren"
    code, said = publish(out)
    assert (
        code == 0
        and f"{len(published(here, 'best'))} files" in said
        and manifest.content_hash(here / "models/onnx/best")[:16] in said
    )
    assert names(out) == published(here, "best")
    assert main.main(["check", str(out)]) == 0
    assert (
        refrain.load(out).chat("hello", max_tokens=8).text
        == refrain.load(here / "models/onnx").chat("hello", max_tokens=8).text
    )
    capsys.readouterr()
    assert main.main(["chat", "--model", str(out), "--prompt", "hello", "--max-new-tokens", "8"]) == 0
    assert capsys.readouterr().out.strip() == refrain.load(out).chat("hello", max_tokens=8).text.strip()
    card = ModelCard.load(out / "README.md")
    assert card.data.eval_results and "| `best/model.onnx` |" in card.text and "hf download" not in card.text
    assert {path.name for path in out.parent.iterdir()} == {"wren"}


def test_the_same_again_is_left_alone_and_another_one_takes_its_place(publish, here, tmp_path):
    out = tmp_path / "wren"
    publish(out)
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert publish(out) == (0, f"{out}: nothing to do, these files are there already\n")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == written
    assert publish(out, "--variants", "best,fp32")[0] == 0
    assert names(out) == published(here, "best", "fp32")
    (out / "LICENSE.txt").unlink()  # what is missing is brought back
    assert publish(out)[0] == 0 and names(out) == published(here, "best")


def test_merged_weights_lie_where_transformers_looks_for_them(publish, here, tmp_path):
    assert publish(tmp_path / "wren", "--merged")[0] == 0
    weights = load_file(tmp_path / "wren/model.safetensors")
    assert weights.keys() == load_file(here / paths.MERGED / "model.safetensors").keys()
    assert (tmp_path / "wren/config.json").is_file() and manifest.find_problems(tmp_path / "wren") == []


def test_a_gguf_file_lies_at_the_root_where_llama_cpp_and_ollama_look(publish, here, tmp_path):
    (here / paths.GGUF).mkdir()
    (here / paths.GGUF / "wren-q8_0.gguf").write_bytes(b"GGUF")
    manifest.write_manifest(here / paths.GGUF, {})
    code, said = publish(tmp_path / "out", "--gguf")
    assert code == 1 and "models/gguf is not what the dvc.lock of the last commit names" in said
    assert publish(tmp_path / "out", "--gguf", "--allow-dirty")[0] == 0
    assert (tmp_path / "out/wren-q8_0.gguf").read_bytes() == b"GGUF" and manifest.find_problems(tmp_path / "out") == []


def test_a_folder_is_meant_from_where_a_person_stands(publish, here, monkeypatch):
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    assert publish("../../outside")[0] == 0
    assert names(here.parent / "outside") == published(here, "best")


def damage(here, tmp_path):
    (here / "models/onnx/best/config.json").write_text("{}")


def lose(here, tmp_path):
    (here / "models/onnx/manifest.json").unlink()


def edit(here, tmp_path):
    (here / "dvc.yaml").write_text("stages: {}\n")


def export_anew(here, tmp_path):
    facts = manifest.read_manifest(here / "models/onnx")
    manifest.write_manifest(here / "models/onnx", facts | {"cpu": "Z80", "files": {}})


def outdate_card(here, tmp_path):
    card = here / paths.MODEL_CARD
    card.write_text(card.read_text().replace("wren", "crow").replace("# ", "# another "))
    git.run_git("commit", "-qam", "Another card")


def lose_card(here, tmp_path):
    (here / paths.MODEL_CARD).unlink()
    git.run_git("commit", "-qam", "No card")


def fill(here, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")


def change_published(here, tmp_path):
    main.main(["publish", str(tmp_path / "out")])
    (tmp_path / "out/README.md").write_text("mine")


def copy_artifact(here, tmp_path):
    shutil.copytree(here / "models/onnx", tmp_path / "out")


def put_file(here, tmp_path):
    (tmp_path / "out").write_text("")


def train_anew(here, tmp_path):
    (here / paths.MERGED / "config.json").write_text("{}")


def put_secret(here, tmp_path):
    (here / paths.MERGED / ".env").write_text("X=1")
    record_merged(here)


def paste_token(here, tmp_path):
    (here / paths.MERGED / "notes.txt").write_text(f"token: {TOKEN}")
    record_merged(here)


def record_merged(here):
    facts = manifest.read_manifest(here / "models/onnx")
    facts["made_of"][str(paths.MERGED)] = manifest.dvc_md5(here / paths.MERGED)
    manifest.write_manifest(here / "models/onnx", {key: facts[key] for key in facts if key != "files"})


def export_no_gguf(here, tmp_path):
    (here / paths.GGUF).mkdir()
    (here / paths.GGUF / "README.md").write_text("No GGUF file was asked for.")


def damage_gguf(here, tmp_path):
    (here / paths.GGUF).mkdir()
    (here / paths.GGUF / "model-q8_0.gguf").write_bytes(b"GGUF")
    manifest.write_manifest(here / paths.GGUF, {})
    (here / paths.GGUF / "model-q8_0.gguf").write_bytes(b"GGUX")


def nothing(here, tmp_path):
    """All is well."""


@pytest.mark.parametrize(("prepare", "arguments", "reason"), [
    (damage, ["out"], "models/onnx/best/config.json: checksum mismatch; `dvc checkout --force models/onnx` brings"),
    (damage, ["out", "--allow-dirty"], "models/onnx/best/config.json: checksum mismatch"),
    (lose, ["out"], "models/onnx: there is no artifact; `dvc pull models/onnx` fetches it"),
    (edit, ["out"], "not committed: dvc.yaml; commit first, or publish it as it is with --allow-dirty"),
    (export_anew, ["out"], "models/onnx is not what the dvc.lock of the last commit names; commit first, or"),
    (outdate_card, ["out"], "reports/model_card.md: it is of another artifact than models/onnx; `dvc repro evaluate`"),
    (lose_card, ["out"], "reports/model_card.md: there is no such file; `dvc repro evaluate` writes it"),
    (fill, ["out"], "out: it holds mine.txt, which was not published from here; name a new folder"),
    (copy_artifact, ["out"], "which was not published from here; name a new folder"),
    (change_published, ["out"], "out/README.md: checksum mismatch, so it is not replaced; move it away"),
    (put_file, ["out"], "out: it is no folder; name a new one"),
    (train_anew, ["out", "--merged"], "models/merged: the artifact was made of another one"),
    (put_secret, ["out", "--merged", "--allow-dirty"], ".env: it is called like a file with secrets"),
    (paste_token, ["out", "--merged", "--allow-dirty"], "notes.txt: it holds what looks like a token of the Hub, so"),
    (nothing, ["out", "--gguf"], "models/gguf: there is no such folder; `dvc pull models/gguf` fetches it"),
    (export_no_gguf, ["out", "--gguf"], "models/gguf: it holds no GGUF file, for none was asked for; `dvc exp run"),
    (damage_gguf, ["out", "--gguf"], "models/gguf/model-q8_0.gguf: checksum mismatch; `dvc checkout --force models/"),
    (nothing, ["out", "--variants", "best,int2"], "--variants: models/onnx has no int2; it has best, fp32, int"),
    (nothing, ["out", "--variants", "int8"], "--variants: best has to be among them, for it is what is opened"),
    (nothing, ["repository/models/onnx"], "models/onnx: this folder belongs to the pipeline; name a new one"),
    (nothing, ["repository"], "this folder belongs to the pipeline"),
    (nothing, ["."], "this folder belongs to the pipeline"),
])  # fmt: skip
def test_what_must_not_leave_is_refused_in_a_sentence(prepare, arguments, reason, publish, here, tmp_path, capsys):
    prepare(here, tmp_path)
    capsys.readouterr()
    before = names(tmp_path / "out") if (tmp_path / "out").is_dir() else None
    destination, *options = arguments
    code, said = publish(tmp_path / destination, *options)
    assert code == 1 and reason in said and said.count("\n") == 1 and TOKEN not in said
    assert before is None or names(tmp_path / "out") == before


@pytest.mark.parametrize("prepare", [edit, export_anew, lose_card])
def test_what_is_not_committed_leaves_if_asked_to(prepare, publish, here, tmp_path):
    prepare(here, tmp_path)
    assert publish(tmp_path / "out", "--allow-dirty")[0] == 0
    assert manifest.find_problems(tmp_path / "out") == []


@pytest.mark.parametrize(("destination", "reason"), [
    ("conf/wren", "conf/wren: there is a folder conf; write ./conf/wren for a folder in it, hf://conf/wren for a"),
    ("hf://wren", "hf://wren: this is not the name of a repository; write it as hf://user/name"),
    ("s3://bucket/wren", "s3://bucket/wren: publish to a folder, or to a repository of the Hub as user/name"),
    ("birds/wr--en", "birds/wr--en: this is not the name of a repository; write it as user/name"),
])  # fmt: skip
def test_a_destination_that_means_nothing_or_two_things_is_refused(destination, reason, publish, hub):
    code, said = publish(destination)
    assert code == 1 and reason in said and said.count("\n") == 1


def test_a_repository_of_the_hub_is_private_says_the_seal_and_the_commit_and_holds_the_same(
    publish, here, hub, tmp_path
):
    code, said = publish(NAME)
    assert code == 0 and f"{hub.endpoint}/{NAME}: {len(published(here, 'best'))} files, " in said and TOKEN not in said
    seal = manifest.content_hash(here / "models/onnx/best")
    [header] = hub.commits
    assert header["summary"].endswith(f"seal {seal[:16]}")
    assert header["description"] == f"Seal {seal}, of commit {git.commit_of('HEAD')}."
    assert hub.private[NAME] == TOKEN
    fetched = snapshot_download(NAME, local_dir=tmp_path / "fetched", ignore_patterns=[".gitattributes"])
    shutil.rmtree(tmp_path / "fetched/.cache")
    assert names(tmp_path / "fetched") == published(here, "best") and manifest.find_problems(tmp_path / "fetched") == []
    assert "hf download birds/wren --local-dir wren" in ModelCard.load(tmp_path / "fetched/README.md").text
    assert refrain.load(fetched).chat("hello", max_tokens=4).text

    hub.log.clear()
    code, said = publish(NAME)
    assert code == 0 and "nothing to do, these files are there already" in said
    assert changes(hub) == changes(hub, "PUT") == [] and len(hub.commits) == 1


def test_another_version_takes_along_what_it_no_longer_has_and_sends_only_what_is_new(publish, here, hub):
    publish(NAME, "--variants", "best,fp32")
    hub.log.clear()
    assert publish(NAME)[0] == 0
    assert sorted(hub.files(NAME)) == [".gitattributes", *published(here, "best")]
    assert changes(hub, "PUT") == []
    damaged = hub.root / NAME / "best/model.onnx.data"
    damaged.write_bytes(b"x")
    hub.objects.clear()
    assert publish(NAME)[0] == 0
    assert damaged.read_bytes() == (here / "models/onnx/best/model.onnx.data").read_bytes()


def test_a_broken_upload_goes_on_where_it_ended(publish, hub):
    hub.answers["/commit/"] = 500
    code, said = publish(NAME)
    assert code == 1 and said.endswith("the Hub answers 500; run again later, it goes on where it ended\n")
    hub.log.clear()
    assert publish(NAME)[0] == 0
    assert changes(hub, "PUT") == [] and len(hub.commits) == 1


def test_nothing_of_somebody_else_is_overwritten(publish, hub):
    (hub.root / NAME).mkdir(parents=True)
    (hub.root / NAME / "README.md").write_text("mine")
    hub.private[NAME] = TOKEN
    code, said = publish(NAME)
    assert (
        code == 1 and "birds/wren: it holds README.md, which was not published from here; choose another name" in said
    )
    assert (hub.root / NAME / "README.md").read_text() == "mine" and hub.commits == []


def test_the_public_sees_only_what_it_is_meant_to(publish, hub):
    assert publish(NAME)[0] == 0 and NAME in hub.private
    assert publish(NAME, "--public")[0] == 0 and NAME not in hub.private
    code, said = publish(NAME, "--variants", "best,fp32")
    assert code == 1 and "birds/wren: this repository is public; --public says that this is meant" in said
    assert publish("birds/finch", "--public")[0] == 0 and "birds/finch" not in hub.private


def forget_token(server, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere/token")


def other_token(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_other")


def other_owner(server, monkeypatch):
    server.writers[TOKEN] = "fish"


def hidden(server, monkeypatch):
    (server.root / NAME).mkdir(parents=True)
    server.private[NAME] = "hf_other"


def leave(server, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def stay_offline(server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def answer(path, status):
    def arrange(server, monkeypatch):
        server.answers[path] = status

    return arrange


@pytest.mark.parametrize(("arrange", "reason"), [
    (forget_token, "no token; set HF_TOKEN to one with write access, or run `hf auth login`"),
    (other_token, "the Hub does not know this token; set HF_TOKEN to a valid one"),
    (other_owner, "this token may not write there; make one with write access to it, or publish under your own name"),
    (hidden, "the Hub does not know this token"),  # or hides it: it answers 401 for both
    (answer("/repos/create", 409), "there is a repository of this name that this token may not see"),
    (answer("/preupload/", 404), "there is no such repository, or it is hidden from this token"),
    (answer("/lfs/", 403), "this token may not write there"),
    (answer("/objects/", 403), "this token may not write there"),
    (answer("/commit/", 409), "somebody else changes it at this moment; run again"),
    (answer("/commit/", 412), "somebody else has committed there meanwhile; run again"),
    (answer("/commit/", 429), "the Hub asks for a pause; run again later"),
    (leave, "no connection to the Hub, or it broke off; check the network and HF_ENDPOINT, then run again to go on"),
    (stay_offline, "HF_HUB_OFFLINE is set; unset it to publish"),
])  # fmt: skip
def test_what_a_hub_refuses_is_one_sentence_with_a_way_out(arrange, reason, publish, hub, monkeypatch):
    arrange(hub, monkeypatch)
    code, said = publish(NAME)
    assert code == 1 and f"refrain: {NAME}: {reason}" in said and TOKEN not in said
    assert hub.commits == []


def test_a_trial_lists_files_with_sizes_and_changes_nothing(publish, here, hub, tmp_path):
    for destination in (NAME, tmp_path / "out"):
        code, said = publish(destination, "--dry-run")
        assert code == 0 and [line.split()[-1] for line in said.splitlines()[:-1]] == published(here, "best")
        size = (here / "models/onnx/best/model.onnx").stat().st_size
        assert f"{size:15,} bytes  best/model.onnx\n" in said
    assert hub.log == [] and not (tmp_path / "out").exists()


def test_outside_of_a_repository_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.main(["publish", "out"]) == 1
    assert "no repository of Refrain is here or above, which is published from" in capsys.readouterr().err


def test_the_manifest_keeps_where_it_comes_from(publish, here, tmp_path):
    publish(tmp_path / "wren")
    ours, theirs = manifest.read_manifest(here / "models/onnx"), manifest.read_manifest(tmp_path / "wren")
    assert theirs.pop("published") == {"variants": ["best"]}
    assert json.dumps({**theirs, "files": 0}) == json.dumps({**ours, "files": 0})
