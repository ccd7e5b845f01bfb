"""Nothing that looks like a secret is published, whatever a folder holds."""

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

NAMES = (
    ".env*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.keystore", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc",
    ".pypirc", ".npmrc", "*credentials*", "*secret*", "token", "token.txt", ".git-credentials", "*.kdbx", "*.ppk",
)  # fmt: skip
TEXTS = (".json", ".md", ".txt", ".jinja", ".yaml", ".yml", "")  # of a file that a secret could have been pasted into
MAX_BYTES = 2**20  # vocabularies are larger, and no place where somebody pastes
SECRETS = {
    "a token of the Hub": re.compile(rb"\bhf_[A-Za-z0-9]{30,}\b"),
    "a key of AWS": re.compile(rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a token of GitHub": re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    "an API key": re.compile(rb"\bsk-[A-Za-z0-9_-]{32,}"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}


def refuse_secrets(files: Mapping[str, Path | bytes]) -> None:
    """ValueError naming the first file that is called like a secret, or holds one; its text is not shown."""
    for name, content in files.items():
        where = content if isinstance(content, Path) else name
        parts = [part.lower() for part in PurePosixPath(name).parts]
        if any(fnmatch(part, pattern) for part in parts for pattern in NAMES):
            raise ValueError(f"{where}: it is called like a file with secrets, so nothing is published; move it away")
        if kind := find_secret(name, content):
            raise ValueError(f"{where}: it holds what looks like {kind}, so nothing is published; take it out")


def find_secret(name: str, content: Path | bytes) -> str | None:
    """What kind of secret a small text holds, if it does."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if PurePosixPath(name).suffix.lower() not in TEXTS or size > MAX_BYTES:
        return None
    text = content if isinstance(content, bytes) else content.read_bytes()
    return next((kind for kind, pattern in SECRETS.items() if pattern.search(text)), None)
