"""Settings that change while the server runs: those that can do, the others are named."""

import logging
from pathlib import Path

from refrain.serving.api_keys import ApiKeys, read_keys
from refrain.serving.errors import ApiError
from refrain.serving.process.logs import configure_logs
from refrain.serving.server import Server
from refrain.serving.settings.schema import ServeSettings
from refrain.serving.settings.setting_fields import list_fields
from refrain.serving.settings.settings_sources import SettingsSources, build_settings, get_setting

log = logging.getLogger(__name__)


class SettingsReload:
    """Reads the settings of a running server again."""

    def __init__(self, server: Server, sources: SettingsSources) -> None:
        self._server, self._sources = server, sources
        self._seen = self._look()

    def has_changed(self) -> bool:
        """Whether the file of settings, or that of keys, is another one than at the last reading."""
        return self._look() != self._seen

    async def reload(self) -> None:
        """Take over what can change at run time, models too; where something is wrong, all stays as it is."""
        self._seen = self._look()
        try:
            wanted, _ = self._sources.load()
            keys = read_keys(wanted)
            check_keys_stay(self._server.keys, keys)
            old = self._server.settings
            changed, held = split_changes(old, wanted)
            settings = keep_values(wanted, old, held)
            replacements = await self._server.change_settings(settings, keys)
        except (ValueError, OSError, ApiError) as error:
            log.error("the settings stay as they are: %s", error)
            return
        configure_logs(settings.log)
        for path in held:
            log.warning("%s needs a restart", describe_change(path, old, wanted))
        for path in changed:
            log.info("%s from now on", describe_change(path, old, wanted))
        for each in replacements:
            if each.seal != each.previous_seal:
                log.info("%s: %s, with the seal %s, from now on", each.name, each.variant, each.seal[:16])

    def _look(self) -> list[tuple[int, int, int] | None]:
        """What tells that a file was written: its time, size and place on the disk."""
        files = [self._sources.watched_file(), self._server.settings.keys]
        return [stamp(file) for file in files if file is not None]


def stamp(file: str | Path) -> tuple[int, int, int] | None:
    """What changes when a file is written or replaced; None where there is none."""
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def check_keys_stay(old: ApiKeys, new: ApiKeys) -> None:
    """A server that asks for keys goes on to do so, for it may stand where all can reach it."""
    if old and not new:
        raise ValueError("api_key, keys: the last key is gone, and without one nobody is asked for any; restart the "
                         "server if that is meant")  # fmt: skip


def split_changes(old: ServeSettings, new: ServeSettings) -> tuple[list[str], list[str]]:
    """The paths of what is other than before: what can change now, and what cannot."""
    changed = [
        field for field in list_fields().values() if get_setting(old, field.path) != get_setting(new, field.path)
    ]
    return [f.path for f in changed if not f.needs_restart], [f.path for f in changed if f.needs_restart]


def keep_values(new: ServeSettings, old: ServeSettings, held: list[str]) -> ServeSettings:
    """The new settings with the old values at some paths."""
    values = {path: get_setting(old if path in held else new, path) for path in list_fields()}
    return build_settings(values)


def describe_change(path: str, old: ServeSettings, new: ServeSettings) -> str:
    """A setting with its value before and after."""
    field = list_fields()[path]
    return f"{path}: {field.show(get_setting(old, path))} -> {field.show(get_setting(new, path))}"
