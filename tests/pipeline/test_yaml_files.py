"""YAML is read as OmegaConf reads it, which writes params.yaml, and in a fraction of its time."""

import pytest
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from places import ROOT

from refrain.pipeline.yaml_files import read_yaml, read_yaml_file

NUMBERS = [
    "1e-4",
    "1E5",
    "-1e-4",
    "+.5",
    ".5e+3",
    "1.",
    "1_000",
    "1_0.5",
    "0x1f",
    "0o17",
    "017",
    "1:30",
    "1:30.5",
    "1e",
]
NUMBERS += [".inf", "-.Inf", ".NaN", "nan", "1e-4x", "e5", "1.5e3.2"]
WORDS = [
    "yes",
    "no",
    "on",
    "off",
    "~",
    "null",
    "Null",
    "true",
    "2024-01-31",
    "2024-01-31 10:00:00",
    "???",
    "a: b",
    "'1e-4'",
]
FILES = [*sorted((ROOT / "conf").rglob("*.yaml")), *map(ROOT.joinpath, ("params.yaml", "dvc.lock", "dvc.yaml"))]


@pytest.mark.parametrize("value", [*NUMBERS, *WORDS])
def test_a_value_is_what_omegaconf_makes_of_it(value):
    text = f"one:\n  - {value}\n"
    assert repr(read_yaml(text)) == repr(OmegaConf.to_container(OmegaConf.create(text)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_file_holds_what_omegaconf_reads(file):
    assert (read_yaml_file(file) or {}) == OmegaConf.to_container(OmegaConf.load(file))


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("train:\n  lr: 1\n  epochs: 2\n  lr: 3\n")
    with pytest.raises(yaml.YAMLError, match=r"found duplicate key lr\n.*params.yaml.*line 4"):
        read_yaml_file(file)
    with pytest.raises((yaml.YAMLError, OmegaConfBaseException), match="found duplicate key lr"):
        OmegaConf.load(file)


def test_nothing_that_a_file_names_is_run():
    with pytest.raises(yaml.YAMLError, match="could not determine a constructor"):
        read_yaml("!!python/object/apply:os.system ['true']")
