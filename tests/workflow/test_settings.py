"""Keywords are the configuration's keys, with its types, and reach Hydra whole."""

from typing import get_type_hints

import pytest

from refrain.pipeline import export_schema, schema
from refrain.workflow import settings

BY_HAND = {"path", "hub", "url"}  # what rows are is said by themselves
MORE = {settings.FinetuneSettings: {*settings.SECTIONS, *settings.PRESETS}}


@pytest.mark.parametrize(("given", "section", "absent"), [
    (settings.SourceSettings, schema.SourceConfig, BY_HAND),
    (settings.DataSettings, schema.DataConfig, {"name", "folder", "sources", *schema.SourceConfig.__annotations__}),
    (settings.FinetuneSettings, schema.TrainConfig, {"recipe"}),
    (settings.ExportSettings, export_schema.ExportConfig, {"name", "variants"}),
])  # fmt: skip
def test_keywords_are_the_keys_of_a_section(given, section, absent):
    own = given.__annotations__.keys() - MORE.get(given, set())
    if given is settings.DataSettings:
        own -= settings.SourceSettings.__annotations__.keys()
    assert own == section.__annotations__.keys() - absent
    ours, theirs = get_type_hints(given), get_type_hints(section)
    plain = {name for name in own if ours[name] != settings.Section}
    nullable = {name: ours[name] | None for name in plain}
    assert {name for name in plain if theirs[name] not in (ours[name], nullable[name])} == set()


def test_values_reach_hydra_as_they_are():
    given = {"lr": 1e-5, "report_to": ("wandb",), "patience": None, "adapter": {"rank": 4, "layers": ["q_proj"]},
             "template": "chatml", "merge.prompts": 3, "tiny": {"corpus": "a file.txt"}}  # fmt: skip
    assert settings.finetune_overrides(given) == [
        "template=chatml", "train.lr=1e-05", "train.report_to=[wandb]", "train.patience=null", "method.adapter.rank=4",
        "method.adapter.layers=[q_proj]", "merge.prompts=3", 'model.tiny.corpus="a file.txt"',
    ]  # fmt: skip
    assert settings.data_overrides({"fields": {"question": "Frage"}, "max_tokens": 9}) == ["data.max_tokens=9"]


@pytest.mark.parametrize(("key", "hint"), [("epoch", "did you mean epochs?"), ("learning_rate", "here it is train.lr")])
def test_a_slip_is_answered_with_what_was_meant(key, hint):
    with pytest.raises(ValueError, match=f"^{key} is no key of the configuration; {hint}"):
        settings.finetune_overrides({key: 1})
