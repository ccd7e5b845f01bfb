"""Conversations that a server keeps: responses that others go on from, and chats of the page; in SQLite.

In a folder they outlive the server. Without one they are in memory, where the oldest responses make room for new ones.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from refrain.serving.errors import ApiError
from refrain.serving.settings.schema import ServeSettings

FILE = "sessions.sqlite3"
VERSION = 1  # of the schema, kept in the file
PAGE_BYTES = 4096
SCHEMA = """
CREATE TABLE responses (id TEXT PRIMARY KEY, owner TEXT NOT NULL, created INTEGER NOT NULL, previous TEXT,
    title TEXT NOT NULL, response TEXT NOT NULL, items TEXT NOT NULL);
CREATE INDEX responses_previous ON responses (previous);
CREATE TABLE chats (owner TEXT NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
    title TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (owner, id));
"""
LISTED = """
SELECT 'chat', id, title, created, updated, length(CAST(content AS BLOB)) FROM chats WHERE owner = :owner
UNION ALL
SELECT 'response', id, title, created, created, length(CAST(response AS BLOB)) + length(CAST(items AS BLOB))
    FROM responses r WHERE owner = :owner AND NOT EXISTS (SELECT 1 FROM responses n WHERE n.previous = r.id)
ORDER BY 5 DESC, id LIMIT :limit OFFSET :offset
"""
LISTED_COLUMNS = ("kind", "id", "title", "created", "updated", "bytes")
CHAIN = """
WITH RECURSIVE chain (id, previous, response, items, depth) AS (
    SELECT id, previous, response, items, 0 FROM responses WHERE id = :id AND owner = :owner
    UNION ALL
    SELECT r.id, r.previous, r.response, r.items, depth + 1 FROM responses r JOIN chain ON r.id = chain.previous
    WHERE r.owner = :owner
) SELECT id, previous, response, items FROM chain ORDER BY depth DESC
"""


class StoredResponse(NamedTuple):
    """A response with the input that was new in it."""

    id: str
    previous: str | None
    response: dict[str, Any]
    items: list[dict[str, Any]]


class NotStoredError(Exception):
    """Something could not be kept, for a reason of the disk; what was there is as it was."""


class SessionStore:
    """One connection, for one thread at a time; `owner` keeps apart what clients with different keys have left."""

    def __init__(self, folder: Path | None, max_memory: int) -> None:
        self.folder, self._lock = folder, threading.Lock()
        place = ":memory:" if folder is None else str(folder / FILE)
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(place, timeout=5, isolation_level=None, check_same_thread=False)
            self._prepare(None if folder else max_memory // PAGE_BYTES)
            self._file = None if folder is None else folder / FILE
            self._identity = None if self._file is None else read_identity(self._file)
        except (sqlite3.Error, OSError) as error:
            raise ValueError(f"sessions: {place} cannot be used ({error}); name another folder") from error

    def _prepare(self, max_pages: int | None) -> None:
        run = self._connection.execute
        run(f"PRAGMA page_size = {PAGE_BYTES}")
        run("PRAGMA auto_vacuum = FULL")  # what is deleted leaves the file
        run("PRAGMA secure_delete = ON")
        if max_pages is None:
            run("PRAGMA journal_mode = WAL")
            run("PRAGMA synchronous = FULL")
        else:
            run(f"PRAGMA max_page_count = {max_pages}")
        run("BEGIN IMMEDIATE")  # two servers may begin at once
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in SCHEMA.split(";"):
                run(statement)
            run(f"PRAGMA user_version = {VERSION}")
        run("COMMIT")
        if version > VERSION:
            self._connection.close()
            raise ValueError(f"sessions: {self.folder} was written by a newer Refrain (its schema is {version}, ours "
                             f"{VERSION}); name another folder, or update")  # fmt: skip

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def add_response(self, owner: str, stored: StoredResponse, title: str) -> None:
        """Keep a response; NotStoredError where there is no room for it."""
        texts = (title, to_json(stored.response), to_json(stored.items))
        values = (stored.id, owner, stored.response["created_at"], stored.previous, *texts)
        self._write("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def find_chain(self, owner: str, response_id: str) -> list[StoredResponse]:
        """A response behind those that it goes on from, the first one first; empty where there is none."""
        rows = self._read(CHAIN, {"id": response_id, "owner": owner})
        return [
            StoredResponse(name, previous, json.loads(response), json.loads(items))
            for name, previous, response, items in rows
        ]

    def find_response(self, owner: str, response_id: str) -> StoredResponse | None:
        return next(iter(self.find_chain(owner, response_id)[-1:]), None)

    def delete_response(self, owner: str, response_id: str) -> bool:
        """Whether there was one."""
        return self._delete("DELETE FROM responses WHERE id = ? AND owner = ?", (response_id, owner)) > 0

    def delete_conversation(self, owner: str, response_id: str) -> int:
        """Forget a response with all before it that no other one goes on from; how many they were."""
        chain, count = self.find_chain(owner, response_id), 0
        for stored in reversed(chain):
            if self._read("SELECT 1 FROM responses WHERE previous = ?", (stored.id,)):
                break
            count += self.delete_response(owner, stored.id)
        return count

    def put_chat(self, owner: str, chat_id: str, now: int, title: str, content: dict[str, Any]) -> None:
        """Keep a chat, in place of what it was before; NotStoredError where there is no room for it."""
        self._write(
            "INSERT INTO chats VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (owner, id) DO UPDATE"
            " SET updated = excluded.updated, title = excluded.title, content = excluded.content",
            (owner, chat_id, now, now, title, to_json(content)),
        )

    def find_chat(self, owner: str, chat_id: str) -> dict[str, Any] | None:
        rows = self._read("SELECT content FROM chats WHERE owner = ? AND id = ?", (owner, chat_id))
        return json.loads(rows[0][0]) if rows else None

    def delete_chat(self, owner: str, chat_id: str) -> bool:
        """Whether there was one."""
        return self._delete("DELETE FROM chats WHERE owner = ? AND id = ?", (owner, chat_id)) > 0

    def list_sessions(self, owner: str, limit: int, offset: int) -> list[dict[str, Any]]:
        """The chats, and the last response of each conversation; what changed last stands first."""
        rows = self._read(LISTED, {"owner": owner, "limit": limit, "offset": offset})
        return [dict(zip(LISTED_COLUMNS, row, strict=True)) for row in rows]

    def export(self, owner: str) -> Iterator[dict[str, Any]]:
        """All that is kept, the chats before the responses, each with its kind."""
        for (chat_id,) in self._read("SELECT id FROM chats WHERE owner = ? ORDER BY created, id", (owner,)):
            if (chat := self.find_chat(owner, chat_id)) is not None:
                yield {"kind": "chat", "id": chat_id, "content": chat}
        for (response_id,) in self._read("SELECT id FROM responses WHERE owner = ? ORDER BY rowid", (owner,)):
            rows = self._read("SELECT response, items FROM responses WHERE id = ?", (response_id,))
            for response, items in rows:
                yield {"kind": "response", "response": json.loads(response), "input_items": json.loads(items)}

    def delete_all(self, owner: str) -> int:
        """Forget everything; how many chats and responses it was."""
        chats = self._write("DELETE FROM chats WHERE owner = ?", (owner,))
        return chats + self._delete("DELETE FROM responses WHERE owner = ?", (owner,))

    def _read(self, query: str, values: Any) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise ApiError(500, "sessions_failed", f"sessions: they cannot be read ({describe_error(error)}); look "
                               "after the disk, and restart the server") from error  # fmt: skip

    def _delete(self, query: str, values: Any) -> int:
        """As `_write`; what was deleted leaves the log too, as soon as nobody reads it."""
        count = self._write(query, values)
        self._read("PRAGMA wal_checkpoint(TRUNCATE)", ())
        return count

    def _write(self, query: str, values: Any) -> int:
        """The number of rows that changed; in memory the oldest responses make room."""
        with self._lock:
            if self._file is not None and read_identity(self._file) != self._identity:
                raise NotStoredError("the file was taken away or replaced while the server ran; restart it")
            while True:
                try:
                    return self._connection.execute(query, values).rowcount
                except (sqlite3.Error, OverflowError) as error:
                    if self.folder is None and is_full(error) and self._forget_oldest():
                        continue
                    raise NotStoredError(describe_error(error)) from error

    def _forget_oldest(self) -> int:
        oldest = "SELECT id FROM responses ORDER BY rowid LIMIT 16"
        return self._connection.execute(f"DELETE FROM responses WHERE id IN ({oldest})").rowcount


def open_sessions(settings: ServeSettings) -> SessionStore:
    """The store that the settings name; ValueError where its folder cannot be used."""
    return SessionStore(None if settings.sessions is None else Path(settings.sessions), settings.sessions_memory)


def read_identity(file: Path) -> tuple[int, int] | None:
    """By which a file is known to be the one that was opened; SQLite would go on writing to one that is deleted."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def to_json(value: Any) -> str:
    """As it is kept: with ASCII alone, so that half of a surrogate pair stays what it was."""
    return json.dumps(value, separators=(",", ":"))


def is_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def describe_error(error: Exception) -> str:
    """The system's own words."""
    return str(error).partition("\n")[0]
