"""Where settings come from: conf/serve.yaml, the environment, the command line; each overrides those before it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from refrain.pipeline import paths
from refrain.serving.settings.schema import ServeSettings
from refrain.serving.settings.setting_fields import SettingField, base_type, describe_type, list_fields, near_path

FILE = paths.SERVE
PREFIX = "REFRAIN_SERVE_"
CONFIG = PREFIX + "CONFIG"  # names another file, as --config does
DEFAULT = "default"


@dataclass(frozen=True)
class SettingsSources:
    """A file, or conf/serve.yaml where there is one; variables; options by path. They can be read again."""

    file: Path | None
    environment: Mapping[str, str]
    options: Mapping[str, Any]

    def watched_file(self) -> Path:
        """The file that is read, there or not."""
        return self.file or Path(self.environment.get(CONFIG) or FILE)

    def load(self) -> tuple[ServeSettings, dict[str, str]]:
        """The settings, and by path where each comes from; ValueError names the source, the setting and the way out."""
        values: dict[str, Any] = {}
        origins = dict.fromkeys(list_fields(), DEFAULT)
        for given in (self._read_file(), read_environment(self.environment), self._read_options()):
            for path, (origin, value) in given.items():
                values[path], origins[path] = value, origin
        return build_settings(values), origins

    def _read_file(self) -> dict[str, tuple[str, Any]]:
        file = self.watched_file()
        if not file.exists():
            if file == FILE:
                return {}
            raise ValueError(f"{file}: there is no such file; name one with --config, or leave it out")
        values = flatten(read_yaml(file), str(file))
        return {path: (str(file), convert(str(file), path, value, True)) for path, value in values.items()}

    def _read_options(self) -> dict[str, tuple[str, Any]]:
        named = {path: option_name(path) for path in self.options}
        return {path: (named[path], convert(named[path], path, value, False, "")) for path, value in
                self.options.items()}  # fmt: skip


def read_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """REFRAIN_SERVE_PORT=8001, REFRAIN_SERVE_LOG__FORMAT=json."""
    given = {}
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name == CONFIG:
            continue
        path = name.removeprefix(PREFIX).lower().replace("__", ".")
        if path not in list_fields():
            near = near_path(path, list_fields())
            raise ValueError(f"{name}: there is no such setting; " + (
                f"did you mean {variable_name(near)}?" if near else "`refrain serve --print-config` lists them"
            ))  # fmt: skip
        if not environment[name]:
            raise ValueError(f"{name}: it is empty; unset it, or give a value")
        given[path] = name, convert(name, path, environment[name], False, "")
    return given


def read_yaml(file: Path) -> dict[str, Any]:
    """What a file says; ValueError where it is not a mapping."""
    try:
        text = file.read_text(encoding="utf-8")
        content, tree = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: it is not YAML ({' '.join(str(error).split())}); correct it") from error
    if not isinstance(content, dict | None):
        raise ValueError(f"{file}: it holds no settings; write lines such as `port: 8001`")
    if twice := next(find_duplicates(tree), None):
        raise ValueError(f"{file}: {twice} stands there twice; keep one")
    return content or {}


def find_duplicates(tree: yaml.Node | None, section: str = "") -> Iterator[str]:
    """The paths of what a mapping says more than once: YAML would take the last one."""
    seen = set()
    for key, value in tree.value if isinstance(tree, yaml.MappingNode) else []:
        if (path := f"{section}{key.value}") in seen:
            yield path
        seen.add(path)
        yield from find_duplicates(value, f"{path}.")


def flatten(values: Mapping[str, Any], file: str, section: str = "") -> dict[str, Any]:
    """Sections as paths, all of which are settings."""
    flat: dict[str, Any] = {}
    known = list_fields()
    for name, value in values.items():
        path = f"{section}{name}"
        if path in known:
            flat[path] = value
        elif any(other.startswith(f"{path}.") for other in known):
            if not isinstance(value, dict | None):
                raise ValueError(f"{file}: {path} is a section; write its settings below it, indented")
            flat.update(flatten(value or {}, file, f"{path}."))
        else:
            near = near_path(path, known)
            raise ValueError(f"{file}: there is no setting {path}; " + (
                f"did you mean {near}?" if near else "`refrain serve --print-config` lists them"
            ))  # fmt: skip
    return flat


def convert(source: str, path: str, value: Any, is_typed: bool, shown_path: str | None = None) -> Any:
    """The value as its setting has it; a text from outside a file is read as what the setting is."""
    field = list_fields()[path]
    try:
        return msgspec.convert(value if is_typed else split_text(source, field, value), field.type, strict=is_typed)
    except msgspec.ValidationError as error:
        told = "what is given" if field.is_secret else f"{value!r}"
        where = source if shown_path == "" else f"{source}: {path}"
        raise ValueError(f"{where}: {told} is not {describe_type(field.type)}{kubernetes_hint(value)}") from error


def split_text(source: str, field: SettingField, value: Any) -> Any:
    """A list from text with commas, pairs from NAME=VALUE; all else as it is."""
    kind = base_type(field.type)
    if kind is list and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if kind is dict:
        pairs = [part.split("=", 1) for part in (value.split(",") if isinstance(value, str) else value)]
        if any(len(pair) < 2 for pair in pairs):
            raise ValueError(f"{source}: {value!r} is not NAME=VALUE, with commas between several")
        return {name.strip(): text.strip() for name, text in pairs}
    return None if value == "null" and field.default is None else value


def kubernetes_hint(value: Any) -> str:
    """Kubernetes sets NAME_PORT in all pods for a Service called NAME."""
    if isinstance(value, str) and value.startswith("tcp://"):
        return ", and Kubernetes sets it for a Service named refrain-serve; set `enableServiceLinks: false`"
    return ""


def build_settings(values: Mapping[str, Any]) -> ServeSettings:
    """The tree from values by path."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return msgspec.convert(tree, ServeSettings)


def get_setting(settings: ServeSettings, path: str) -> Any:
    """The value at a path."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def option_name(path: str) -> str:
    """log.format as an option: --log-format."""
    return "--" + path.replace(".", "-").replace("_", "-")


def variable_name(path: str) -> str:
    """log.format as a variable: REFRAIN_SERVE_LOG__FORMAT."""
    return PREFIX + path.replace(".", "__").upper()
