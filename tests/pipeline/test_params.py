"""The configuration: every option fits the schema, and every mistake is one sentence before anything heavy loads."""

import ast
import re
import resource
from pathlib import Path

import pipeline_repository
import presets
import pytest
import stage_starts
from omegaconf import OmegaConf
from pipeline_repository import ROOT

from refrain.pipeline import params as launch
from refrain.pipeline import schema

CONF = ROOT / "conf"
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())
OPTIONS = [f"{group}={name}" for group in GROUPS for name in presets.options(group)]
STAGES = ["compose", "base", "prepare", "train", "merge", "export_onnx", "evaluate"]
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
    "+export.variants.int8.bar.top1=1": ("export.variants.int8.bar", "export.variants.int8.thresholds"),
}
MISSPELT = {
    override: f"{wrong} is no key of the configuration; did you mean {right}?"
    for override, (wrong, right) in NEAREST.items()
} | {"+merge.zyx=1": "merge.zyx is no key of the configuration; known here are prompts, tolerance"}
WRONG = {
    "train.lr=fast": "train.lr: value 'fast' of type 'str' could not be converted to Float",
    "seed=1.5": "seed: value '1.5' of type 'float' could not be converted to Integer",
    "seed=null": "seed: incompatible value 'None' for field of type 'int'",
    "~train.lr": "train.lr has no value yet; give one: -S 'train.lr=...', or in conf/",
    "merge.prompts=???": "merge.prompts has no value yet; give one: -S 'merge.prompts=...', or in conf/",
    "data.sources=a.csv": "data.sources=a.csv is not a list; write data.sources=[...]",
    "merge=3": "merge=3 is not a section with prompts, tolerance; options of conf/ are chosen by "
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
    "data.sources=[{path:a.csv,split:dev}]": ("data.sources: split=dev of a.csv is none of train, val, test and null"),
    "data.val_fraction=0.5 data.test_fraction=0.5": (
        "data.val_fraction and data.test_fraction must not be negative and must leave rows to train on"
    ),
    "data.val_fraction=-0.1": (
        "data.val_fraction and data.test_fraction must not be negative and must leave rows to train on"
    ),
    "train.lr=0": "train.lr=0.0 must be above 0",
    "train.epochs=-1": "train.epochs=-1.0 must be above 0",
    "train.schedule=square": "train.schedule=square is none of linear, cosine, constant, constant_with_warmup, wsd",
    "export.variants.int8.weights.bits=3": "export.variants.int8.weights.bits=3 is none of 32, 16, 8 and 4",
}
INT4 = "export.variants.int4.weights"
NO_EXPORT = {
    "export.graph=onnx": "export.graph=onnx is neither compact nor optimum nor null",
    f"{INT4}.bits=5": f"{INT4}.bits=5 is none of 32, 16, 8 and 4",
    f"{INT4}.block=null": (
        f"{INT4}.block=null needs 8 bits for all weights: dynamic quantisation; give the weights a block of 64"
    ),
    f"{INT4}.bits=8 {INT4}.head_bits=4 {INT4}.block=null": (
        f"{INT4}.block=null needs 8 bits for all weights: dynamic quantisation; give the weights a block of 64"
    ),
    f"{INT4}.block=48": f"{INT4}.block=48 is none of 16, 32, 64, 128, 256",
    f"{INT4}.block=0": f"{INT4}.block=0 is none of 16, 32, 64, 128, 256",
    f"{INT4}.head_bits=16": f"{INT4}.head_bits=16 is none of 32, 8, 4 and null",
    f"{INT4}.accuracy=1": f"{INT4}.accuracy=1 is neither 4, products in 8 bits, nor 0, products in fp32",
    f"{INT4}.rounding=up": f"{INT4}.rounding=up is none of nearest, search",
    "~export.cost.int8 ~export.cost.fp32": (
        "export.cost has no entry for fp32, int8; give the microseconds of a million weights"
    ),
    "export.variants.fp32.weights.bits=16": (
        "export.variants needs fp32 with 32 bits: it is the link between PyTorch and the others"
    ),
    "~export.variants.fp32": "export.variants needs fp32 with 32 bits: it is the link between PyTorch and the others",
    "export.graph=optimum export.variants.int8.weights.bits=16": (
        "export.variants.int8.weights.bits=16 needs the compact graph; leave export.graph null or take 32 bits"
    ),
    "+export.variants.best.weights.bits=32 +export.variants.best.thresholds.top1=1": (
        "export.variants.best is no name of a variant; best is that of a copy, others of a folder"
    ),
    "export.variants.fp32.thresholds.required=false export.variants.int8.thresholds.required=false": (
        "export.variants: none is required, so none may be left; set ...fp32.thresholds.required=true"
    ),
    "export.steps=0": "export.steps=0 must be above 0",
    "export.prompts=0": "export.prompts=0 must be above 0",
    "merge.prompts=0": "merge.prompts=0 must be above 0",
    "export.best=int2": "export.best=int2 is none of export.variants: fp32, int8, int4",
}
EXPORTS = [
    "export.graph=optimum export.best=int8",
    f"{INT4}.bits=8 {INT4}.head_bits=null {INT4}.block=null",
    f"{INT4}.head_bits=32 {INT4}.symmetric=false {INT4}.accuracy=0",
    "+export.variants.half.weights.bits=16 +export.variants.half.thresholds.top1=0.99",
]
MISTAKES = {**MISSPELT, **WRONG, **IMPOSSIBLE}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A folder with the conf/ of the workspace, params.yaml composed from it, and a torch that must not be touched."""
    folder = pipeline_repository.copy(tmp_path_factory.mktemp("bench"), "conf", "data/raw")
    for name in ("torch", "transformers"):
        (folder / f"{name}.py").write_text("raise SystemExit('something heavy was loaded')\n")
    run(folder, "compose", fails=False)
    return folder


def run(folder, name, *arguments, fails=True):
    """What a stage of the workspace said in that folder, and the seconds for which it kept a processor busy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = pipeline_repository.stage(folder, name, *arguments, fails=fails, PYTHONPATH=str(ROOT))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return said, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def answers(bench, tmp_path_factory):
    """What the train stage answers to each mistake."""
    starts = [[text] if "data.sources=" in text else text.split() for text in MISTAKES]
    return dict(
        zip(MISTAKES, stage_starts.answers(bench, tmp_path_factory.mktemp("answers"), "train", starts), strict=True)
    )


def composed(*overrides):
    return launch.to_config(launch.compose_with_hydra("config", CONF, list(overrides)))


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


def test_the_learning_rate_comes_with_the_method_unless_it_is_given():
    rates = {method: composed(f"method={method}").train.lr for method in ("lora", "full", "from_scratch")}
    assert len(set(rates.values())) == 3
    assert composed("method=full", "train.lr=0.1").train.lr == 0.1


@pytest.mark.parametrize(("overrides", "sentence"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_on_the_command_line_is_one_sentence_at_once(answers, overrides, sentence):
    assert answers[overrides][:2] == (f"train: {sentence}\n", 1)
    assert answers[overrides].seconds < 3


@pytest.mark.parametrize(("overrides", "sentence"), NO_EXPORT.items(), ids=NO_EXPORT)
def test_an_export_that_no_graph_can_hold_is_refused(overrides, sentence):
    with pytest.raises(ValueError) as error:
        composed(*overrides.split())
    assert str(error.value) == sentence


@pytest.mark.parametrize("overrides", EXPORTS)
def test_an_export_that_a_graph_can_hold_is_taken(overrides):
    assert composed(*overrides.split()).export != composed().export


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_checks_before_it_loads_anything(bench, name):
    said, seconds = run(bench, name, "train.epoch=3")
    assert said == f"{name}: train.epoch is no key of the configuration; did you mean train.epochs?\n"
    assert seconds < 3


def test_the_torch_of_this_bench_gives_heavy_imports_away(bench):
    assert run(bench, "train", "train.epochs=3")[0] == "something heavy was loaded\n"


@pytest.mark.parametrize("name", STAGES)
def test_help_says_at_once_what_a_stage_is_for(bench, name):
    said, seconds = run(bench, name, "--help", fails=False)
    purpose = ast.get_docstring(ast.parse((ROOT / f"stages/{name}.py").read_text()))
    assert said.startswith(f"usage: python -m stages.{name} ")
    assert purpose in said
    assert seconds < 3


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
        ("data.sources", ["a.csv"], "data.sources[0]=a.csv is not a section with path, shape, split, fields;"),
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
    assert said == "compose: launch=dpp: conf/launch has ddp, fsdp, single\n"
    assert seconds < 3


def test_a_misspelt_group_names_the_nearest(bench):
    said, _ = run(bench, "compose", "methdo=lora")
    assert said == "compose: methdo is no key of the configuration; did you mean method?\n"


def test_an_option_given_to_a_stage_is_sent_to_compose(bench):
    said, _ = run(bench, "train", "launch=ddp")
    way = "options of conf/ are chosen by `python -m stages.compose`"
    assert said == f"train: launch=ddp is not a section with name, processes, shard; {way}\n"


def test_values_on_the_command_line_win_for_that_run_only(bench, monkeypatch):
    monkeypatch.chdir(bench)
    before = Path("params.yaml").read_bytes()
    assert launch.load(["train.lr=0.5", "method.adapter=null"]).train.lr == 0.5
    assert launch.load(["method.adapter=null"]).method.adapter is None
    assert Path("params.yaml").read_bytes() == before


def test_values_live_in_conf_and_in_no_second_place():
    tree = ast.parse(Path(schema.__file__).read_text())
    kinds = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    given = {
        f"{kind}.{field.target.id}": ast.unparse(field.value or ast.Constant("none at all"))
        for kind, node in kinds.items()
        for field in node.body
        if isinstance(field, ast.AnnAssign)
    }
    assert given.pop("Config.composed") == "None"  # `dvc exp run` leaves it out
    of_elements = {
        field
        for field in given
        if field.split(".")[0] in ("SourceConfig", "QuantizationConfig", "Thresholds", "VariantConfig")
    }
    assert {default for field, default in given.items() if field not in of_elements} == {"MISSING"}
