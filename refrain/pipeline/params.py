"""How a stage starts: params.yaml, values of the command line on top, checked before anything heavy loads."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from refrain.pipeline import config_keys, old_names, paths
from refrain.pipeline.schema import Config

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

PLAIN_KEY = re.compile(r"\+{0,2}((?!hydra\.)[A-Za-z_]\w*(\.\w+)*)=")  # of an override that sets a value
PLAIN_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)  # a value that is a word
OF_HYDRA = {"defaults", "hydra"}  # keys by which a file is made of others


def load(overrides: list[str]) -> Config:
    """params.yaml under the schema, overrides on top; ValueError names the key and the nearest right one."""
    if not paths.PARAMS.exists():
        raise ValueError("params.yaml is missing; `python -m stages.compose` writes it from conf/")
    raw = compose_with_hydra("params", Path.cwd(), overrides) if overrides else read_params()
    record = raw.get("composed")
    if record and record.get("conf") != conf_digest():
        raise ValueError("conf/ is newer than params.yaml; run `dvc repro` or `python -m stages.compose`")
    return to_config(raw)


def check_names(overrides: list[str]) -> None:
    """ValueError about the first override that gives a key no schema knows, or else the first with a word in place of
    a number; Hydra takes far longer to say less."""
    renamed = [old_names.rename_override(override) for override in overrides]
    keys, values = map(PLAIN_KEY.match, renamed), dict(override.partition("=")[::2] for override in renamed)
    for sentence in (
        *(config_keys.explain_key(match[1]) for match in keys if match),
        *(config_keys.explain_word(key, value) for key, value in values.items() if PLAIN_WORD.fullmatch(value)),
    ):
        if sentence:
            raise ValueError(sentence)


def read_params() -> dict[str, Any]:
    """params.yaml as Hydra reads it; asked is Hydra itself only where its values are made of others."""
    from yaml import YAMLError  # what is refused for a name waits for no YAML

    from refrain.pipeline import yaml_files

    try:
        raw = yaml_files.read_yaml_file(paths.PARAMS.absolute())
    except YAMLError as error:
        raise ValueError(first_lines(error)) from error
    if not isinstance(raw, dict) or OF_HYDRA & raw.keys() or "${" in paths.PARAMS.read_text(encoding="utf-8"):
        return compose_with_hydra("params", Path.cwd(), [])
    return old_names.upgrade(raw)


def first_lines(error: Exception) -> str:
    """What has gone wrong, and where."""
    return " ".join(line.strip() for line in str(error).split("\n")[:2])


def compose_with_hydra(name: str, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """What Hydra makes of folder/name.yaml and the overrides, the same call that `dvc exp run -S` makes."""
    from hydra import compose, initialize_config_dir  # it takes longer to load than all else here
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    overrides = [old_names.rename_override(override) for override in overrides]
    try:
        with initialize_config_dir(str(folder.absolute()), version_base="1.3"):
            plain = OmegaConf.to_container(compose(name, overrides=overrides), resolve=True)
    except OverrideParseException as error:
        raise ValueError(f"{error.override} cannot be read; write key=value, with quotes around a text") from error
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ValueError(suggest_override(overrides, folder) or first_lines(error)) from error
    return old_names.upgrade(cast(dict[str, Any], plain))


def suggest_override(overrides: list[str], folder: Path) -> str | None:
    """A sentence about the first override whose option `folder` lacks, or whose key the schema does not know."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for override in OverridesParser.create().parse_overrides(overrides):
        key = str(override.key_or_group)
        options = sorted(file.stem for file in (folder / key).glob("*.yaml"))
        if options and not {*chosen_options(override)} <= {*options, "None"}:
            today = [name for name in options if (key, name) not in old_names.OPTIONS]
            return f"{override.input_line}: {folder}/{key} has {', '.join(today)}"
        if options or key.startswith("hydra."):
            continue
        if sentence := config_keys.explain_key(key):
            return sentence
    return None


def chosen_options(override: "Override") -> list[str]:
    """The options that an override asks for, several in a sweep; None for none."""
    return list(override.sweep_string_iterator()) if override.is_sweep_override() else [str(override.value())]


def conf_digest() -> str:
    """Fingerprint of conf/: the path and bytes of every file but the server's."""
    import hashlib  # loads OpenSSL

    result = hashlib.sha256()
    for file in sorted({*paths.CONF.rglob("*.yaml")} - {paths.SERVE}):
        result.update(f"{file.relative_to(paths.CONF).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return result.hexdigest()[:12]


def to_config(raw: dict[str, Any]) -> Config:
    """Plain dataclasses from plain values; an unknown key, a wrong type, a gap, an impossible value: ValueError."""
    for sentence in config_keys.schema_problems(raw, Config, ""):
        raise ValueError(sentence)
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    from refrain.pipeline.validation import problems  # what is refused for a name waits for no check of values

    try:
        merged = OmegaConf.merge(OmegaConf.structured(Config), raw)
        cfg = cast(Config, OmegaConf.to_object(merged))
    except MissingMandatoryValue as error:
        raise ValueError(config_keys.missing_value(str(error.full_key))) from error
    except OmegaConfBaseException as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{error.full_key or 'params.yaml'}: {reason[:1].lower()}{reason[1:]}") from error
    for sentence in problems(cfg):
        raise ValueError(sentence)
    return cfg
