"""The settings for people: what each is, and where that comes from."""

from collections.abc import Mapping

from refrain.experiments.text_tables import text_table
from refrain.serving.settings.schema import ServeSettings
from refrain.serving.settings.setting_fields import list_fields
from refrain.serving.settings.settings_sources import get_setting


def settings_table(settings: ServeSettings, origins: Mapping[str, str]) -> str:
    """A line for each setting: its path, its value, its source, what it is for."""
    rows = [
        (path, field.show(get_setting(settings, path)), origins[path], field.help)
        for path, field in list_fields().items()
    ]
    return text_table([("setting", "value", "from", "what it is for"), *rows])
