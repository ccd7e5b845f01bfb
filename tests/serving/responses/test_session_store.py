"""Conversations on a disk: they outlive the server, stay whole when the disk is full, and are gone when deleted."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from refrain.serving.errors import ApiError
from refrain.serving.responses.session_store import FILE, NotStoredError, SessionStore, StoredResponse

MEMORY = 2**20
SECRET = "a secret \U0001f642 \u2028 \ud83d"


def response(name, previous=None, text="Hello", created=5):
    body = {"id": name, "created_at": created, "output": [{"text": text}]}
    return StoredResponse(name, previous, body, [{"type": "message", "content": text}])


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    store = SessionStore(tmp_path / "a folder" if request.param == "disk" else None, MEMORY)
    yield store
    store.close()


def test_a_conversation_is_a_chain_and_its_branches_share_its_beginning(store):
    for name, previous in [("a", None), ("b", "a"), ("c", "b"), ("d", "b")]:
        store.add_response("", response(name, previous, SECRET + name), name)
    assert [each.id for each in store.find_chain("", "d")] == ["a", "b", "d"]
    assert store.find_chain("", "c")[-1] == response("c", "b", SECRET + "c")
    assert [one["id"] for one in store.list_sessions("", 10, 0)] == ["c", "d"]
    assert store.delete_conversation("", "c") == 1  # the rest belongs to d
    assert store.delete_conversation("", "d") == 3
    assert store.list_sessions("", 10, 0) == [] and store.find_response("", "a") is None


def test_a_chain_that_has_lost_a_link_is_known_to_be_short(store):
    for name, previous in [("a", None), ("b", "a")]:
        store.add_response("", response(name, previous), name)
    assert store.delete_response("", "a") and not store.delete_response("", "a")
    assert store.find_chain("", "b")[0].previous == "a"


def test_nobody_sees_what_another_key_has_left(store):
    store.add_response("ann", response("a", text=SECRET), "")
    store.put_chat("ann", "x", 1, "", {"a": 1})
    store.add_response("bob", response("b", "a"), "")
    assert [each.id for each in store.find_chain("bob", "b")] == ["b"]
    assert store.find_response("bob", "a") is None and store.find_chat("bob", "x") is None
    assert not store.delete_chat("bob", "x") and not store.delete_response("bob", "a")
    assert store.delete_all("bob") == 1 and [*store.export("bob")] == []
    assert len([*store.export("ann")]) == 2


def test_a_chat_is_put_in_place_of_itself(store):
    store.put_chat("", "x", 1, "first", {"turns": [SECRET]})
    store.put_chat("", "y", 2, "other", {})
    store.put_chat("", "x", 3, "second", {"turns": [SECRET, 1.5, None]})
    assert store.find_chat("", "x") == {"turns": [SECRET, 1.5, None]}
    listed = [
        (one["kind"], one["id"], one["title"], one["created"], one["updated"]) for one in store.list_sessions("", 9, 0)
    ]
    assert listed == [("chat", "x", "second", 1, 3), ("chat", "y", "other", 2, 2)]
    assert [one["id"] for one in store.list_sessions("", 1, 1)] == ["y"]


def test_what_is_kept_outlives_the_server_and_what_is_deleted_leaves_the_disk(tmp_path):
    store = SessionStore(tmp_path, MEMORY)
    store.add_response("", response("a", text="in plain sight " * 50_000), "")
    store.put_chat("", "x", 1, "", {"a": 1})
    other = SessionStore(tmp_path, MEMORY)  # a second server on the same folder
    assert [each["kind"] for each in other.export("")] == ["chat", "response"]
    store.close()
    other.put_chat("", "y", 1, "", {"a": "of little length"})  # it shares its page with what stays
    assert other.delete_chat("", "y") and b"of little" not in b"".join(map(Path.read_bytes, tmp_path.iterdir()))
    assert other.delete_all("") == 2
    assert b"in plain sight" not in b"".join(map(Path.read_bytes, tmp_path.iterdir()))
    assert (tmp_path / FILE).stat().st_size < 100_000
    other.close()


def test_in_memory_the_oldest_responses_leave_and_one_that_never_fits_is_named():
    store = SessionStore(None, 2**18)
    for nth in range(100):
        store.add_response("", response(f"r{nth}", text="x" * 5000), "")
    kept = [each["response"]["id"] for each in store.export("")]
    assert kept[-1] == "r99" and 10 < len(kept) < 60 and kept == [f"r{nth}" for nth in range(100 - len(kept), 100)]
    with pytest.raises(NotStoredError, match="full"):
        store.add_response("", response("huge", text="x" * 2**19), "")
    store.add_response("", response("small"), "")
    assert store.find_response("", "small")
    store.close()


def test_a_full_database_takes_nothing_and_loses_nothing(tmp_path):
    store = SessionStore(tmp_path, MEMORY)
    store.add_response("", response("a", text=SECRET), "")
    store._connection.execute("PRAGMA max_page_count = 1")  # as many as there are
    for write in (
        lambda: store.add_response("", response("b", text="x" * 50_000), ""),
        lambda: store.put_chat("", "x", 1, "", {"a": "x" * 50_000}),
    ):
        with pytest.raises(NotStoredError, match="full"):
            write()
    assert [each["response"]["id"] for each in store.export("")] == ["a"]
    store.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from refrain.serving.errors import ApiError
from refrain.serving.responses.session_store import *
store = SessionStore(Path(sys.argv[1]), 0)
for nth in range(20):
    store.put_chat("", f"chat{nth}", nth, "", {"text": "x" * 3000})
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # no file grows beyond it, as on a full disk
kept, failed = 20, 0
for nth in range(20, 60):
    try:
        store.put_chat("", f"chat{nth}", nth, "", {"text": "x" * 3000})
        kept += 1
    except NotStoredError as error:
        failed += 1
    assert len(store.list_sessions("", 100, 0)) == kept, (kept, failed)
print(kept, failed)
"""


def test_a_full_disk_harms_nothing_that_is_there(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    kept, failed = map(int, done.stdout.split())
    assert failed > 0
    store = SessionStore(tmp_path, MEMORY)
    assert len(store.list_sessions("", 100, 0)) == kept
    assert store._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.put_chat("", "new", 1, "", {})
    store.close()


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be used"):
        SessionStore(tmp_path / "file", MEMORY)
    (tmp_path / FILE).write_bytes(b"no database at all" * 1000)
    with pytest.raises(ValueError, match="not a database"):
        SessionStore(tmp_path, MEMORY)
    assert (tmp_path / FILE).read_bytes().startswith(b"no database")


def test_a_newer_schema_is_left_alone(tmp_path):
    SessionStore(tmp_path, MEMORY).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(ValueError, match="newer Refrain"):
        SessionStore(tmp_path, MEMORY)


def test_a_file_that_was_taken_away_keeps_nothing_in_silence(tmp_path):
    store = SessionStore(tmp_path, MEMORY)
    store.put_chat("", "a", 1, "", {})
    (tmp_path / FILE).rename(tmp_path / "elsewhere")
    with pytest.raises(NotStoredError, match="taken away or replaced"):
        store.put_chat("", "b", 1, "", {})
    store.close()
    with pytest.raises(ApiError, match="cannot be read"):
        store.list_sessions("", 1, 0)
    with pytest.raises(NotStoredError):
        store.put_chat("", "b", 1, "", {})
