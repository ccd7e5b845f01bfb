"""Models by name: opened once, when they are asked for, verified first, replaced while others speak."""

import asyncio
import os
import threading
from shutil import copy, copytree

import pipeline_repository
import pytest

from refrain.pipeline import manifest
from refrain.runtime import onnx_folder
from refrain.serving.errors import ApiError
from refrain.serving.models import artifact
from refrain.serving.models.model_pool import ModelPool
from refrain.serving.settings.schema import ServeSettings

WEIGHTS = onnx_folder.EXTERNAL_DATA


@pytest.fixture
def folder(served_folder, tmp_path):
    return copytree(served_folder, tmp_path / "onnx")


@pytest.fixture
def pool_of(folder):
    """A function that gives what a coroutine over a pool returns; all that the pool has opened is closed."""

    def run(act, **settings):
        pool = ModelPool(ServeSettings(**{"model": str(folder), "threads": 1, **settings}))

        async def within():
            try:
                return await act(pool)
            finally:
                pool.close()

        return asyncio.run(within())

    return run


def flip_byte(file):
    """One bit of a file, in a new file in its place, as a broken transfer leaves it."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    replace_file(file, bytes(content))


def replace_file(file, content):
    """As DVC does: a new file under the old name, the old one lives on for those who have it open."""
    other = file.with_name("part")
    other.write_bytes(content)
    other.replace(file)


def change_weights(folder, source="fp32", target="best"):
    """Another variant's files in place of one's, and the manifest that says so."""
    for file in (folder / source).iterdir():
        replace_file(folder / target / file.name, file.read_bytes())
    manifest.write_manifest(folder, {"best": source if target == "best" else "int8"})


def engines():
    return [thread for thread in threading.enumerate() if thread.name == "engine"]


def test_names_are_those_of_the_folders(pool_of, folder, tmp_path):
    copytree(folder / "fp32", tmp_path / "elsewhere" / "alone")

    async def act(pool):
        assert pool.names() == ["mine", "mine:fp32", "mine:int8", "other", "alone"]
        assert pool.folders["mine:int8"] == pool.folders["mine"] == folder / "best", "the same bytes are opened once"
        assert pool.default.variant == "int8" and pool.default.seal == manifest.content_hash(folder / "best")
        assert (await pool.find("")).name == (await pool.find(None)).name == "mine"
        assert (await pool.find("alone")).variant == "alone"

    models = {"other": str(tmp_path / "elsewhere" / "alone"), "alone": str(tmp_path / "elsewhere" / "alone")}
    pool_of(act, served_model_name="mine", models=models)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"models": {"refrain": "x"}}, "models: refrain is a name already; give x another one"),
        ({"models": {"other": "nowhere"}}, "models.other: nowhere: there is no such folder"),
        ({"model": "nowhere"}, "nowhere: there is no such folder"),
        ({"kv_cache_memory": 10}, "kv_cache_memory: 10 bytes hold no token of this model, which takes 1024"),
    ],
)
def test_what_cannot_be_served_is_refused_at_the_start(folder, settings, sentence):
    with pytest.raises(ValueError) as refusal:
        ModelPool(ServeSettings(**{"model": str(folder), "threads": 1, **settings}))
    assert str(refusal.value).startswith(sentence)


def test_an_unknown_name_is_answered_with_the_known_ones(pool_of):
    async def act(pool):
        with pytest.raises(ApiError, match=r"there is no gpt-4; name one of refrain, refrain:fp32, refrain:int8"):
            await pool.find("gpt-4")

    pool_of(act)


def test_many_who_ask_at_once_open_a_model_once(pool_of):
    async def act(pool):
        before = len(engines())
        found = await asyncio.gather(*(pool.find("refrain:fp32") for _ in range(8)))
        assert len({id(model.backend) for model in found}) == 1 and len(engines()) == before + 1

    pool_of(act)


def test_room_for_keys_and_values_is_what_memory_is_given(pool_of):
    async def act(pool):
        return pool.default.backend.context

    assert pool_of(act, kv_cache_memory=100 * 1024) == 100
    assert pool_of(act) == 1200


def test_the_least_recently_used_leaves(pool_of, folder, tmp_path):
    models = {name: str(copytree(folder / "fp32", tmp_path / name / "fp32")) for name in ("a", "b")}
    size = onnx_folder.model_bytes(folder / "fp32")

    async def act(pool):
        def open_names():
            return [model.name for model in pool.open_models()]

        first = await pool.find("refrain:fp32")
        await pool.find("a")
        await pool.find("refrain:fp32")
        await pool.find("b")
        assert open_names() == ["refrain", "refrain:fp32", "b"]
        assert first.backend.is_alive(), "it stayed, having been used"
        del first

    pool_of(act, models=models, models_memory=onnx_folder.model_bytes(folder / "best") + 2 * size)

    async def too_large(pool):
        with pytest.raises(ApiError, match="models_memory leaves 0 beside the default"):
            await pool.find("a")

    pool_of(too_large, models=models, models_memory=1)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: flip_byte(folder / WEIGHTS), f"{WEIGHTS}: checksum mismatch"),
        (lambda folder: flip_byte(folder / "model.onnx"), "model.onnx: checksum mismatch"),
        (lambda folder: flip_byte(folder / "config.json"), "config.json: checksum mismatch"),
        (lambda folder: (folder / WEIGHTS).unlink(), f"{WEIGHTS} is missing"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: os.truncate(folder / WEIGHTS, 1000), f"{WEIGHTS}: checksum mismatch"),
        (lambda folder: (folder / "chat_template.jinja").write_text("{{ 1 }}"), "chat_template.jinja is not listed"),
        (lambda folder: (folder.parent / "manifest.json").write_text('{"files": {'), "manifest.json: it is not JSON"),
    ],
)
def test_what_is_damaged_is_never_opened(served_folder, tmp_path, damage, sentence):
    folder = copytree(served_folder, tmp_path / "onnx")
    damage(folder / "best")
    settings = ServeSettings(model=str(folder), threads=1)
    with pytest.raises(ValueError) as refusal:
        ModelPool(settings)
    assert sentence in str(refusal.value)


def test_a_damaged_variant_is_refused_and_tried_again(pool_of, folder):
    async def act(pool):
        whole = (folder / "fp32" / WEIGHTS).read_bytes()
        flip_byte(folder / "fp32" / WEIGHTS)
        with pytest.raises(ApiError, match="checksum mismatch") as refusal:
            await pool.find("refrain:fp32")
        assert (refusal.value.status, refusal.value.code) == (409, "artifact_damaged")
        replace_file(folder / "fp32" / WEIGHTS, whole)
        assert (await pool.find("refrain:fp32")).backend.is_alive()

    pool_of(act)


def test_a_reload_replaces_what_has_changed_alone(pool_of, folder):
    async def act(pool):
        best, fp32 = await pool.find(None), await pool.find("refrain:fp32")
        seal = best.seal
        same = await pool.reload()
        assert [(each.name, each.seal == each.previous_seal) for each in same] == [
            ("refrain", True),
            ("refrain:fp32", True),
        ]
        change_weights(folder)
        changed = await pool.reload()
        assert [(each.name, each.seal == each.previous_seal, each.variant) for each in changed] == [
            ("refrain", False, "fp32")
        ]
        assert pool.default.seal == fp32.seal != seal and pool.names() == ["refrain", "refrain:fp32", "refrain:int8"]
        backend = best.backend
        await asyncio.sleep(0)
        assert backend.is_alive(), "somebody has it in hand"
        del best, same, changed
        while backend in pool._retired:
            await asyncio.sleep(0.01)
        assert not backend.is_alive()

    pool_of(act)


def test_what_is_damaged_leaves_what_was_open(pool_of, folder):
    async def act(pool):
        before = pool.default
        await pool.find("refrain:fp32")
        change_weights(folder)
        flip_byte(folder / "best" / WEIGHTS)
        with pytest.raises(ApiError, match=r"checksum mismatch.*what was open goes on answering") as refusal:
            await pool.reload()
        assert (refusal.value.status, refusal.value.code) == (409, "artifact_damaged")
        assert pool.default == before and before.backend.is_alive() and len(pool.open_models()) == 2
        first, second = await asyncio.gather(pool.reload(), pool.reload(), return_exceptions=True)
        assert first.code == "artifact_damaged" and second.code == "reload_running"

    pool_of(act)


def test_files_that_change_while_they_are_opened_are_not_served(folder, monkeypatch):
    from refrain.serving.models import opening

    load = opening.load

    def load_and_replace(place, settings):
        loaded = load(place, settings)
        replace_file(place / "config.json", (place / "config.json").read_bytes())
        return loaded

    monkeypatch.setattr(opening, "load", load_and_replace)
    with pytest.raises(ValueError, match="its files changed while it was opened"):
        ModelPool(ServeSettings(model=str(folder), threads=1))


def test_a_folder_without_a_manifest_is_taken_as_it_is(folder, tmp_path, caplog):
    alone = copytree(folder / "fp32", tmp_path / "got" / "fp32")
    pool = ModelPool(ServeSettings(model=str(alone), threads=1))
    assert pool.default.seal == manifest.content_hash(folder / "fp32") and "no manifest.json" in caplog.text
    copy(folder / "manifest.json", tmp_path / "got")
    assert pool.names() == ["refrain"]
    pool.close()


def test_the_commit_that_recorded_a_model_is_known(folder, tmp_path, monkeypatch):
    repository = tmp_path / "repository"
    repository.mkdir()
    monkeypatch.chdir(repository)
    manifest.write_manifest(folder, {"best": "int8", "made_of": {"models/merged": "1234.dir"}})
    assert artifact.verify_artifact(folder / "best").commit is None, "there is no repository"
    pipeline_repository.run(repository, "git", "init", "-q", "-b", "main")
    commits = []
    for md5 in ("1234.dir", "5678.dir"):
        (repository / "dvc.lock").write_text(f"outs: [{{path: models/merged, md5: {md5}}}]\n")
        pipeline_repository.run(repository, "git", "add", "-A")
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        pipeline_repository.run(repository, "git", *identity, "commit", "-qm", md5)
        commits.append(pipeline_repository.run(repository, "git", "rev-parse", "HEAD").strip())
    assert artifact.verify_artifact(folder / "best").commit == commits[0], "an older one than HEAD"
