"""The configuration: every option fits the schema, and every mistake is one sentence before anything heavy loads."""

import re
from pathlib import Path

import presets
import pytest
import stage_starts
from light_stages import CONF, composed, run
from omegaconf import OmegaConf

from refrain.pipeline import params as launch
from refrain.pipeline import recovery

GROUPS = sorted(
    folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name != "recipe"
)  # chosen by two others
OPTIONS = [f"{group}={name}" for group in GROUPS for name in presets.options(group)]
GAPS = {
    "data=files": ("data.sources", "[{path: some/file.csv}]"),
    "model=folder": ("model.folder", "some/folder"),
    "model=hub": ("model.hub", "someone/something"),
    "method=continue": ("method.init_adapter", "v1.0.0"),
}
NEAREST = {
    "trian.lr=1": ("trian", "train"),
    "train.epoch=3": ("train.epoch", "train.epochs"),
    "+train.epoch=3": ("train.epoch", "train.epochs"),
    "method.adapter.rnak=3": ("method.adapter.rnak", "method.adapter.rank"),
    "model.tiny.layer=3": ("model.tiny.layer", "model.tiny.layers"),
    "data.sources=[{pth: a.csv}]": ("data.sources[0].pth", "data.sources[0].path"),
    "export.variants.int8.weights.bit=4": ("export.variants.int8.weights.bit", "export.variants.int8.weights.bits"),
    "+export.variants.int8.threshold.top1=1": ("export.variants.int8.threshold", "export.variants.int8.thresholds"),
}
MISSPELT = {
    override: f"{wrong} is no key of the configuration; did you mean {right}?"
    for override, (wrong, right) in NEAREST.items()
} | {"+merge.zyx=1": "merge.zyx is no key of the configuration; known here are prompts, relative_logits"}
WRONG = {
    "train.lr=fast": "train.lr: value 'fast' of type 'str' could not be converted to Float",
    "seed=1.5": "seed: value '1.5' of type 'float' could not be converted to Integer",
    "seed=null": "seed: incompatible value 'None' for field of type 'int'",
    "~train.lr": "train.lr has no value yet; give one: -S 'train.lr=...', or in conf/",
    "merge.prompts=???": "merge.prompts has no value yet; give one: -S 'merge.prompts=...', or in conf/",
    "data.sources=a.csv": "data.sources=a.csv is not a list; write data.sources=[...]",
    "merge=3": "merge=3 is not a section with prompts, relative_logits; options of conf/ are chosen by "
    "`python -m stages.compose`",
    "train.lr=[1": "train.lr=[1 cannot be read; write key=value, with quotes around a text",
    "train.lr": "train.lr cannot be read; write key=value, with quotes around a text",
}
IMPOSSIBLE = {
    "model.hub=a/b model.revision=main": (
        "model needs exactly one of model.hub, model.folder and model.tiny; set the others to null"
    ),
    "model.tiny=null": "model needs exactly one of model.hub, model.folder and model.tiny; set the others to null",
    "model.tiny=null model.hub=a/b": "model.hub needs model.revision: a commit, a tag or a branch such as main",
    "model.tiny.width=100 model.tiny.heads=6": "model.tiny.width=100 must be an even multiple of model.tiny.heads=6",
    "model.tiny.heads=6 model.tiny.kv_heads=4": "model.tiny.heads=6 must be a multiple of model.tiny.kv_heads=4",
    "model.tiny.vocabulary=256": ("model.tiny.vocabulary=256 must be at least 300: 256 bytes and the special tokens"),
    "method.weights=new": "method.weights=new is neither pretrained nor random",
    "method.weights=random": (
        "method.weights=random needs method.adapter=null: an adapter cannot teach frozen random weights"
    ),
    "data.sources=[]": "data.sources is empty; name a file: data.sources=[{path: some/file.csv}]",
    "data.sources=[{path:a.csv,split:dev}]": (
        "data.sources: split=dev of a.csv is none of train, val, test, random and null"
    ),
    "data.sources=[{path:a.csv,delimiter:'||'}]": (
        "data.sources[0].delimiter='||' must be one sign, such as \";\" or tab"
    ),
    "data.sources=[{path:a.json,delimiter:tab}]": (
        "data.sources[0].delimiter says nothing of a file such as a.json; take it out"
    ),
    "data.sources=[{path:a.csv,quote:'|',escape:'|'}]": (
        "data.sources[0]: delimiter, quote and escape must be different signs"
    ),
    "data.sources=[{path:a.csv,encoding:base64}]": (
        "data.sources[0].encoding=base64 is none that is known; use one such as cp1252"
    ),
    "data.sources=[{shape:qa}]": (
        "data.sources[0].path has no value yet; give one: a file, a folder, a pattern such as some/*.jsonl, or hub"
    ),
    "data.sources=[{path:a,hub:a/b}]": "data.sources[0] has a path and a hub; give each a source of its own",
    "data.sources=[{hub:a/b}]": (
        "data.sources[0].hub needs a revision beside it: a commit, a tag or a branch such as main"
    ),
    "data.sources=[{path:a,revision:main}]": (
        "data.sources[0].revision is of a data set on the Hub; give hub in place of path, or take it away"
    ),
    "data.val_fraction=0.5 data.test_fraction=0.5": (
        "data.val_fraction and data.test_fraction must not be negative and must leave rows to train on"
    ),
    "data.val_fraction=-0.1": (
        "data.val_fraction and data.test_fraction must not be negative and must leave rows to train on"
    ),
    "data.train_fraction=0": ("data.train_fraction=0.0 is no share above 0, up to 1; 1 learns from all training rows"),
    "train.lr=0": "train.lr=0.0 must be above 0",
    "train.epochs=-1": "train.epochs=-1.0 must be above 0",
    "train.schedule=square": "train.schedule=square is none of linear, cosine, constant, constant_with_warmup, wsd",
    "export.variants.int8.weights.bits=3": "export.variants.int8.weights.bits=3 is none of 32, 16, 8 and 4",
}
MISTAKES = {**MISSPELT, **WRONG, **IMPOSSIBLE}


@pytest.fixture(scope="module")
def answers(bench, tmp_path_factory):
    """What the train stage answers to each mistake."""
    starts = [[text] if "data.sources=" in text else text.split() for text in MISTAKES]
    return dict(
        zip(MISTAKES, stage_starts.answers(bench, tmp_path_factory.mktemp("answers"), "train", starts), strict=True)
    )


@pytest.mark.heavy
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_fits_the_schema(option):
    if option in GAPS:
        key, value = GAPS[option]
        with pytest.raises(ValueError, match=re.escape(f"{key} has no value yet; give one: -S '{key}=...'")):
            composed(option)
        cfg = composed(option, f"{key}={value}")
    else:
        cfg = composed(option)
    group, name = option.split("=")
    assert getattr(cfg, group).name == name


def test_only_the_options_that_say_so_leave_a_gap():
    texts = {f"{file.parent.name}={file.stem}": file.read_text() for file in CONF.glob("*/*.yaml")}
    assert {option for option, text in texts.items() if "???" in text or '""' in text} == set(GAPS)


@pytest.mark.heavy
def test_the_learning_rate_comes_with_the_method_unless_it_is_given():
    rates = {method: composed(f"method={method}").train.lr for method in ("lora", "full", "from_scratch")}
    assert len(set(rates.values())) == 3
    assert composed("method=full", "train.lr=0.1").train.lr == 0.1


@pytest.mark.heavy
@pytest.mark.parametrize(("overrides", "sentence"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_on_the_command_line_is_one_sentence_at_once(answers, overrides, sentence):
    assert answers[overrides][:2] == (f"train: {sentence}\n{recovery.UNTOUCHED}\n", 1)
    assert answers[overrides].seconds < 3


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("trian", {"lr": 1}, "trian is no key of the configuration; did you mean train?"),
        ("train.lrs", 1, "train.lrs is no key of the configuration; did you mean train.lr?"),
        ("data.sources", [{"path": "a"}, {"pth": "b"}], "data.sources[1].pth is no key of the configuration; "
         "did you mean data.sources[1].path?"),
        ("export.variants.int8.weights.bit", 4, "export.variants.int8.weights.bit is no key of the configuration; "
         "did you mean export.variants.int8.weights.bits?"),
        ("train.lr", "fast", "train.lr: value 'fast' of type 'str' could not be converted to Float"),
        ("train", [1, 2], "train=[1, 2] is not a section with lr,"),
        ("data.sources", ["a.csv"], "data.sources[0]=a.csv is not a section with path, hub, revision, url, files, "
         "sheet, shape, assistant, split, fields, verdicts, encoding, delimiter, quote, escape, header;"),
    ],
)  # fmt: skip
def test_a_mistake_in_params_yaml_is_one_sentence(bench, monkeypatch, tmp_path, key, value, sentence):
    params = OmegaConf.load(bench / "params.yaml")
    del params["composed"]
    OmegaConf.update(params, key, value, merge=False)
    OmegaConf.save(params, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}[^\n]*$"):
        launch.load([])


def test_a_missing_value_in_params_yaml_is_named(bench, monkeypatch, tmp_path):
    params = OmegaConf.load(bench / "params.yaml")
    del params["composed"]
    del params["model"]["tiny"]["heads"]
    OmegaConf.save(params, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^model\.tiny\.heads has no value yet; give one: -S"):
        launch.load([])


def test_params_yaml_that_is_no_yaml_is_one_sentence_with_the_line(monkeypatch, tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 42\ntrain: {lr: 1\nmodel: 3: 4\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r'^while parsing a flow mapping in ".*params.yaml", line 2, column 8$'):
        launch.load([])


def test_a_misspelt_option_names_those_that_exist(bench):
    said, seconds = run(bench, "compose", "launch=dpp")
    assert said.splitlines() == ["compose: launch=dpp: conf/launch has ddp, fsdp, single", recovery.UNTOUCHED]
    assert seconds < 3


def test_a_misspelt_group_names_the_nearest(bench):
    said, _ = run(bench, "compose", "methdo=lora")
    assert said.startswith("compose: methdo is no key of the configuration; did you mean method?\n")


def test_an_option_given_to_a_stage_is_sent_to_compose(bench):
    said, _ = run(bench, "train", "launch=ddp")
    way = "options of conf/ are chosen by `python -m stages.compose`"
    assert said.startswith(f"train: launch=ddp is not a section with name, processes, shard; {way}\n")


def test_values_on_the_command_line_win_for_that_run_only(bench, monkeypatch):
    monkeypatch.chdir(bench)
    before = Path("params.yaml").read_bytes()
    assert launch.load(["train.lr=0.5", "method.adapter=null"]).train.lr == 0.5
    assert launch.load(["method.adapter=null"]).method.adapter is None
    assert Path("params.yaml").read_bytes() == before


def test_of_two_values_for_a_key_the_last_counts(bench, monkeypatch):
    monkeypatch.chdir(bench)
    assert launch.load(["train.lr=fast", "train.lr=1e-3"]).train.lr == 1e-3


@pytest.mark.parametrize("override", [
    "train.lr=fast", "seed=_one", "train.patience=soon", "data.leaks.near_duplicate_threshold=few",
])  # fmt: skip
def test_a_word_in_place_of_a_number_is_refused_in_the_words_of_omegaconf(bench, monkeypatch, override):
    monkeypatch.chdir(bench)
    with pytest.raises(ValueError) as at_once:
        launch.check_names([override])
    with pytest.raises(ValueError) as in_the_end:
        launch.to_config(launch.compose_with_hydra("params", bench, [override]))
    assert str(at_once.value) == str(in_the_end.value)


@pytest.mark.parametrize("override", [
    "train.lr=null", "train.lr=True", "train.lr=inf", "train.lr=Infinity", "method.name=fast",
    "method.adapter.rank=few",
])  # fmt: skip
def test_what_may_be_a_value_is_left_to_hydra(override):
    launch.check_names([override])


def test_params_yaml_is_read_as_hydra_reads_it(bench, monkeypatch):
    monkeypatch.chdir(bench)
    assert launch.load([]) == launch.to_config(launch.compose_with_hydra("params", bench, []))


def test_a_value_that_is_made_of_another_is_resolved(bench, monkeypatch, tmp_path):
    params = OmegaConf.load(bench / "params.yaml")
    del params["composed"]
    params.data.max_tokens = "${seed}"
    OmegaConf.save(params, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    assert launch.load([]).data.max_tokens == params.seed
