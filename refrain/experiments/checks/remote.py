"""DVC's remotes: configured, mounted, reachable."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refrain.experiments.checks.finding import Finding

PACKAGES = {  # what brings a kind of remote, as the documentation of DVC lists them
    "s3": "dvc-s3", "gs": "dvc-gs", "azure": "dvc-azure", "ssh": "dvc-ssh", "gdrive": "dvc-gdrive", "oss": "dvc-oss",
    "hdfs": "dvc-hdfs", "webhdfs": "dvc-webhdfs", "webdav": "dvc-webdav", "webdavs": "dvc-webdav",
}  # fmt: skip
GUIDE = "docs/sharing.md shows how"


def check_remotes(config: dict[str, Any], asks_remote: bool) -> Iterator[Finding]:
    """Each remote; `dvc push` and `dvc pull` use the default one."""
    remotes, default = config.get("remote", {}), config.get("core", {}).get("remote")
    if not remotes:
        yield Finding("remote", "ok", f"none, so nothing is shared; {GUIDE}")
        return
    if default not in remotes:
        text = f"{default!r} is the default and not among {', '.join(remotes)}" if default else "none is the default"
        yield Finding("remote", "note", text, f"`dvc remote default {next(iter(remotes))}`")
    for name, section in remotes.items():
        yield check_remote(name, section, asks_remote)


def check_remote(name: str, section: dict[str, Any], asks_remote: bool) -> Finding:
    """Whether a remote can be used, and whether DVC verifies what it fetches from there."""
    label, url = f"remote {name}", str(section.get("url"))
    kind, separator, _ = url.partition("://")
    finding = check_folder(label, url) if not separator or kind == "file" else check_network(label, name, url,
                                                                                              asks_remote)  # fmt: skip
    if finding.state == "ok" and not section.get("verify"):
        advice = f"`dvc remote modify {name} verify true`: else a damaged file is handed over as whole"
        return Finding(label, "note", f"{finding.text}; what is fetched is not verified", advice)
    return finding


def check_folder(label: str, url: str) -> Finding:
    """A folder as a remote: DVC creates one that is missing without a word, also where a disk is not mounted."""
    folder = Path(url.removeprefix("file://"))  # DVC has made a relative one absolute
    if not folder.is_dir():
        advice = "mount its disk; `dvc push` would create it on this one without a word. If it is new: `mkdir -p` it"
        return Finding(label, "stop", f"{folder} is not there", advice)
    if not any(folder.iterdir()):
        return Finding(label, "note", f"{folder} is empty", "it is new, or its disk is not mounted")
    if not os.access(folder, os.W_OK):
        return Finding(label, "note", f"{folder} can be read alone", "to push, let its owner grant it")
    return Finding(label, "ok", f"{folder}, {'mounted, ' if is_mounted(folder) else ''}can be written")


def is_mounted(folder: Path) -> bool:
    """Whether a folder is on another disk than the root of the system."""
    return folder.stat().st_dev != Path("/").stat().st_dev


def check_network(label: str, name: str, url: str, asks_remote: bool) -> Finding:
    """A remote that needs a package of its own, and a network."""
    package = PACKAGES.get(url.partition("://")[0])
    if package and not importlib.util.find_spec(package.replace("-", "_")):
        return Finding(label, "stop", f"{url}; {package} is not installed", f"`pip install {package}`")
    if not asks_remote:
        return Finding(label, "ok", f"{url}; not asked, `refrain doctor --remote` does")
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            odb = repo.cloud.get_remote_odb(name)
            has_data = odb.fs.exists(odb.path)
    except Exception as error:  # each kind of remote fails in ways of its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return Finding(label, "stop", f"{url}: {reason}", "correct its address, the credentials or the network")
    return Finding(label, "ok", f"{url} answers{'' if has_data else ', nothing was pushed yet'}")
