"""The keys that requests may have: one from the settings, and those in a file."""

import hashlib
import hmac
from pathlib import Path

from refrain.serving.settings.schema import ServeSettings

HASHED = "sha256:"


class ApiKeys:
    """Keys as sha256, by the names they are known under; none are needed where there are none."""

    def __init__(self, names: dict[bytes, str]) -> None:
        self._names = names

    def __bool__(self) -> bool:
        return bool(self._names)

    def find(self, key: bytes) -> str | None:
        """The name of a key, None for one that is not known; it takes as long for each."""
        digest, found = hashlib.sha256(key).digest(), None
        for known, name in self._names.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found


def read_keys(settings: ServeSettings) -> ApiKeys:
    """The keys of the settings; ValueError where one cannot be one, which the message does not show."""
    names: dict[bytes, str] = {}
    if settings.api_key is not None:
        names[digest_key(settings.api_key, "api_key")] = "api_key"
    if settings.keys is not None:
        file = Path(settings.keys)
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if words := line.partition("#")[0].split():
                names[digest_key(words[0], f"{file}:{number}")] = " ".join(words[1:]) or f"line {number}"
        if not names:
            raise ValueError(f"{file}: it has no keys; write one a line, or leave `keys` out")
    if names and settings.admin_key is not None:
        names[digest_key(settings.admin_key, "admin_key")] = "admin_key"
    return ApiKeys(names)


def read_text(file: Path) -> str:
    """What a file says; the error of another one would show bytes of its keys."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: it is not UTF-8; write keys as text, one a line") from None


def digest_key(text: str, where: str) -> bytes:
    """The sha256 of a key, or the one that is written."""
    if not text.strip():
        raise ValueError(f"{where}: the key is empty; leave it out, or give one")
    if not text.startswith(HASHED):
        return hashlib.sha256(text.encode()).digest()
    try:
        digest = bytes.fromhex(text.removeprefix(HASHED))
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError(f"{where}: after sha256: there must be 64 hexadecimal digits; "
                         "`printf %s KEY | sha256sum` makes them")  # fmt: skip
    return digest
