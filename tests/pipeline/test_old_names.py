"""A name that was good a release ago still is, and the new one is said."""

import re

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from places import ROOT

from refrain.experiments.compose import compose_params
from refrain.pipeline import old_names, params


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    old_names.mention.cache_clear()


def leaves(section, place=""):
    for key, value in section.items():
        yield from leaves(value, f"{place}{key}.") if isinstance(value, dict) else [f"{place}{key}"]


def chosen(config, key):
    return OmegaConf.select(OmegaConf.create(config), key)


OLD = {
    "data.leaks.near=null": ("data.leaks.near_duplicate_threshold", None),
    "data.leaks.run=5": ("data.leaks.ngram_size", 5),
    "data.leaks.contamination=8": ("data.leaks.contamination_ngram", 8),
    "train.micro_tokens=77": ("train.micro_batch_tokens", 77),
    "method.start=v1": ("method.init_adapter", "v1"),
    "export.variants.int8.bars.top1=0.5": ("export.variants.int8.thresholds.top1", 0.5),
    "template=own": ("template.name", "default"),
    "launch=one": ("launch.name", "single"),
}


@pytest.mark.parametrize("override", OLD)
def test_an_old_name_on_our_command_line_is_the_new_one(override, caplog):
    key, value = OLD[override]
    composed = compose_params([override])
    assert chosen(composed, key) == value
    assert composed == compose_params([key.removesuffix(".name") + f"={'null' if value is None else value}"])
    assert " is now called " in caplog.text


@pytest.mark.parametrize("override", OLD)
def test_an_old_name_given_to_dvc_is_found_by_hydra_and_written_as_the_new_one(override, caplog):
    """`dvc exp run -S` composes conf/ by itself; the compose stage then reads what it wrote."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        written = OmegaConf.to_container(compose("config", overrides=[override]), resolve=True)
    key, value = OLD[override]
    upgraded = old_names.upgrade(written)
    assert chosen(upgraded, key) == value
    assert params.to_config(upgraded)
    assert caplog.text.count(" is now called ") == 1


def test_without_an_old_name_nothing_is_said_and_none_is_left(caplog):
    composed = compose_params([])
    written = {key.rpartition(".")[2] for key in leaves(composed)}
    assert not written & {old.rpartition(".")[2] for old in old_names.KEYS} - {"start"}
    assert "???" not in str(composed) and caplog.text == ""


def test_a_variant_that_is_not_chosen_is_not_made_by_an_old_name():
    assert list(compose_params(["export=fp32"])["export"]["variants"]) == ["fp32"]


def test_conf_holds_exactly_the_old_keys():
    listed = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/old_names.yaml"))
    plain = {key for key in leaves(listed) if not key.startswith("export.")}
    assert plain == {key for key in old_names.KEYS if "*" not in key}
    variants = listed["export"]["variants"]
    ours = compose_params([])["export"]["variants"]
    assert {name: set(variant["bars"]) for name, variant in variants.items()} == {
        name: set(variant["thresholds"]) - {"relative_logits"} for name, variant in ours.items()
    }
    for (group, old), new in old_names.OPTIONS.items():
        options = {file.stem for file in (ROOT / "conf" / group).glob("*.yaml")}
        assert {old, new} <= options


@pytest.mark.parametrize("override, today", [
    ("merge.tolerance=1e-3", "merge.relative_logits"),
    ("export.variants.fp32.thresholds.logits=0.1", "relative_logits"),
    ("+export.variants.fp32.bars.logits=null", "relative_logits"),
])  # fmt: skip
def test_a_key_whose_meaning_is_no_more_is_refused_and_left_out_of_what_was_recorded(override, today, caplog):
    with pytest.raises(ValueError, match=rf"^{re.escape(override)}: its meaning is no more; set {today}"):
        compose_params([override])
    recorded = {"merge": {"prompts": 3, "tolerance": 1}, "export": {"variants": {"a": {"thresholds": {"logits": 1}}}}}
    assert old_names.upgrade(recorded) == {"merge": {"prompts": 3}, "export": {"variants": {"a": {"thresholds": {}}}}}
    assert caplog.text.count("is not read any more") == 2
