"""Settings that change while a server runs: keys, limits, models; what is wrong changes nothing."""

import asyncio
import logging
from shutil import copytree

import pytest

from refrain.serving.settings.settings_reload import SettingsReload
from refrain.serving.settings.settings_sources import SettingsSources


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def place(tmp_path_factory, served_folder):
    """A folder with settings, keys and a model that are this module's to change."""
    folder = tmp_path_factory.mktemp("place")
    copytree(served_folder, folder / "onnx")
    (folder / "keys").write_text("first\n")
    return folder


@pytest.fixture(scope="module")
def changing(serve, place):
    return serve(keys=str(place / "keys"), model=str(place / "onnx"))


@pytest.fixture
def reload(changing, place, monkeypatch):
    """A function that writes settings and has them read; the log stays as pytest has set it."""
    monkeypatch.setattr("refrain.serving.settings.settings_reload.configure_logs", lambda _: None)
    start = f"keys: {place / 'keys'}\nmodel: {place / 'onnx'}\nport: 0\nthreads: 1\n"

    def read(text="", keys="first\n"):
        (place / "serve.yaml").write_text(start + text)
        reading = SettingsReload(changing.server, SettingsSources(place / "serve.yaml", {}, {}))
        (place / "keys").write_text(keys)
        assert reading.has_changed()
        asyncio.run_coroutine_threadsafe(reading.reload(), changing.loop).result(60)

    yield read
    read()


def status(changing, key, path="/v1/models"):
    return changing.get(path, headers=bearer(key)).status_code


def test_a_new_key_is_let_in_at_once_and_an_old_one_no_more(changing, reload):
    assert (status(changing, "first"), status(changing, "second")) == (200, 401)
    reload(keys="second\n")
    assert (status(changing, "first"), status(changing, "second")) == (401, 200)


@pytest.mark.parametrize(
    ("text", "keys", "told"),
    [
        ("", "# nobody", "it has no keys"),
        ("keys: null", "first", "keys stands there twice"),
        ("model: none", "first", "model stands there twice"),
        ("tmeout: 3", "first", "there is no setting tmeout; did you mean timeout?"),
    ],
)
def test_what_is_wrong_changes_nothing_and_is_told(changing, reload, caplog, text, keys, told):
    before = changing.server.settings
    reload(text, keys)
    assert told in caplog.text and "stay as they are" in caplog.text
    assert changing.server.settings == before and status(changing, "first") == 200


def test_the_last_key_stays(changing, place, caplog):
    (place / "open.yaml").write_text(f"model: {place / 'onnx'}\nport: 0\nthreads: 1\n")
    reading = SettingsReload(changing.server, SettingsSources(place / "open.yaml", {}, {}))
    asyncio.run_coroutine_threadsafe(reading.reload(), changing.loop).result(60)
    assert "the last key is gone" in caplog.text and changing.get("/v1/models").status_code == 401


def test_limits_and_the_cache_change_and_what_cannot_is_named(changing, reload, caplog):
    caplog.set_level(logging.INFO)
    reload("limits: {body_bytes: 10}\ncache: {max_bytes: 0}\nmax_num_seqs: 3\nserved_model_name: other\n")
    assert changing.post("/v1/chat/completions", {"messages": []}, headers=bearer("first")).status_code == 413
    assert changing.server.settings.max_num_seqs == 8 and changing.server.settings.served_model_name == "refrain"
    for told in ("limits.body_bytes: 4000000 -> 10 from now on", "max_num_seqs: 8 -> 3 needs a restart"):
        assert told in caplog.text
