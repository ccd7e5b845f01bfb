"""params.yaml follows conf/, keeps what a run or a person changed, and never loses either in silence."""

import re
import shutil

import pipeline_repository
import presets
import pytest
from dvc.utils.hydra import compose_and_dump
from omegaconf import OmegaConf
from pipeline_repository import ROOT, edit

from refrain.experiments import compose as composition
from refrain.pipeline import old_names, paths, recovery
from refrain.pipeline.params import conf_digest

OVERRIDES = [
    ["train.lr=1e-5", "train.epochs=0.5", "seed=7"],
    ["method=full"],
    ["method=from_scratch", "template=llama2"],
    ["template=alpaca"],
    ["model=smollm2-135m"],
    ["model=hub", "model.hub=some/thing", "model.revision='1234567'"],
    ["model=folder", "model.folder='a folder/x'"],
    ["export=fp32"],
    ["+export.variants.int8b={weights:{bits:8,block:32},thresholds:{top1:0.9}}", "export.best=int8b"],
    ["~export.variants.int8"],
    ["data.sources=[{path:a.csv,split:test,fields:{question:Q,answer:'the answer'}},{path:b/c-d.json,shape:null}]"],
    ["data.sources=[]"],
]
TEXTS = [
    "a",
    "a-b/c.d",
    "/a",
    "",
    " a ",
    "null",
    "True",
    "nan",
    "1e5",
    "-1",
    ".5",
    "1_0",
    "0x1",
    "~a",
    "+a",
    "a,b",
    "a=b",
]
TEXTS += [
    "{a: [b",
    "it's",
    'say "hi"',
    "'",
    "\\",
    "x\\",
    "\\'",
    '\\\\"x\\"',
    "a\\nb",
    "a\nb",
    "a\tb",
    "\u00fcn\u00ef \U0001f642",
    "%$#!",
    "$a",
]


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """The conf/ and raw data of the workspace, only to be read."""
    return pipeline_repository.copy(tmp_path_factory.mktemp("conf"), "conf", "data/raw")


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """The conf/ and raw data of the workspace with a fresh params.yaml, made once."""
    folder = pipeline_repository.copy(tmp_path_factory.mktemp("composed"), "conf", "data/raw")
    compose(folder)
    return folder


@pytest.fixture
def bench(composed, tmp_path):
    """A copy of that."""
    return shutil.copytree(composed, tmp_path / "bench")


def compose(folder, *overrides, **settings):
    """What the compose stage logged."""
    return pipeline_repository.stage(folder, "compose", *overrides, PYTHONPATH=str(ROOT), **settings).strip()


def params(folder):
    return OmegaConf.to_container(OmegaConf.load(folder / "params.yaml"))


def values(folder):
    return {key: value for key, value in params(folder).items() if key != "composed"}


def hydra_writes(folder, values):
    """What `dvc exp run` does to params.yaml before it runs the stages."""
    OmegaConf.save(values, folder / "params.yaml")


def test_the_first_composition_is_one_short_line(tmp_path):
    folder = pipeline_repository.copy(tmp_path / "bench", "conf", "data/raw")
    assert compose(folder) == "wrote params.yaml (defaults)"
    assert params(folder)["composed"]["overrides"] == []


@pytest.mark.heavy
def test_nothing_changed_writes_the_same_bytes(bench):
    before = (bench / "params.yaml").read_bytes()
    assert compose(bench) == "wrote params.yaml (defaults)"
    assert (bench / "params.yaml").read_bytes() == before


@pytest.mark.heavy
def test_an_edit_of_conf_is_followed(bench):
    edit(bench / "conf/recipe/tiny_lora.yaml", {"train.lr": 3e-4})
    assert compose(bench) == "conf/ was edited, params.yaml follows: train.lr=0.0003"
    assert values(bench)["train"]["lr"] == 3e-4
    assert params(bench)["composed"]["overrides"] == []


@pytest.mark.heavy
def test_an_edit_of_an_unused_option_changes_nothing(bench):
    before = values(bench)
    edit(bench / "conf/method/full.yaml", {"train.lr": 3e-4})
    assert compose(bench) == "conf/ was edited, params.yaml follows: nothing changes"
    assert values(bench) == before
    assert compose(bench) == "wrote params.yaml (defaults)"


@pytest.mark.heavy
def test_conf_can_be_edited_and_composed_by_hand_many_times(bench):
    for seed in (1, 2, 3):
        edit(bench / "conf/config.yaml", {"seed": seed})
        assert compose(bench) == f"conf/ was edited, params.yaml follows: seed={seed}"


@pytest.mark.heavy
def test_a_hand_edit_is_kept_and_recorded(bench):
    edit(bench / "params.yaml", {"evaluate.max_rows": 9})
    assert compose(bench) == "wrote params.yaml (overrides: evaluate.max_rows=9)"
    assert params(bench)["composed"]["overrides"] == ["evaluate.max_rows=9"]
    assert compose(bench) == "wrote params.yaml (overrides: evaluate.max_rows=9)"


@pytest.mark.heavy
@pytest.mark.parametrize("noticed", [True, False], ids=["recorded by a run", "not yet recorded"])
def test_a_hand_edit_and_an_edit_of_conf_together_are_refused(bench, noticed):
    edit(bench / "params.yaml", {"evaluate.max_rows": 9})
    if noticed:
        compose(bench)
    edit(bench / "conf/recipe/tiny_lora.yaml", {"method.adapter.rank": 16})
    before = (bench / "params.yaml").read_bytes()
    said = compose(bench, fails=True)
    if noticed:  # what conf/ said before is no value of its own
        assert said.startswith(
            "compose: conf/ was edited, and params.yaml holds values of its own: evaluate.max_rows=9; "
        )
        assert "`python -m stages.compose evaluate.max_rows=9 && dvc repro`" in said
    else:
        assert (
            "both edited; where they differ, params.yaml says evaluate.max_rows=9 method.adapter.rank=64, some" in said
        )
    assert "rank=64" not in said or "may be what conf/ said before" in said
    assert (bench / "params.yaml").read_bytes() == before


@pytest.mark.heavy
def test_the_way_out_of_a_refusal_works(bench):
    edit(bench / "params.yaml", {"evaluate.max_rows": 9})
    edit(bench / "conf/recipe/tiny_lora.yaml", {"method.adapter.rank": 16})
    compose(bench, fails=True)
    compose(bench, "evaluate.max_rows=9")
    assert (values(bench)["evaluate"]["max_rows"], values(bench)["method"]["adapter"]["rank"]) == (9, 16)
    assert compose(bench) == "wrote params.yaml (overrides: evaluate.max_rows=9)"


@pytest.mark.heavy
def test_an_override_given_to_compose_stays(bench):
    compose(bench, "train.lr=1e-2", "method=full")
    assert values(bench)["train"]["lr"] == 1e-2
    assert compose(bench) == "wrote params.yaml (overrides: method.adapter=null method.name=full train.lr=0.01)"


@pytest.mark.heavy
def test_an_override_given_to_compose_replaces_the_earlier_ones(bench):
    assert compose(bench, "train.lr=1e-2") == "wrote params.yaml (overrides: train.lr=0.01)"
    compose(bench, "seed=3")
    assert params(bench)["composed"]["overrides"] == ["seed=3"]


@pytest.mark.heavy
@pytest.mark.parametrize("method", presets.options("method"))
def test_a_pretrained_base_is_trained_by_a_recipe_of_its_own(conf, monkeypatch, method):
    monkeypatch.chdir(conf)
    composed = [
        composition.compose_params([f"method={method}", *model])["train"]
        for model in ([], ["model=folder", "model.folder=x"], ["model=hub", "model.hub=a/b"], ["model=smollm2-135m"])
    ]
    assert [train["recipe"] for train in composed] == ["tiny", *3 * ["pretrained"]]
    assert composed[0]["lr"] > 3 * composed[1]["lr"] and composed[1] == composed[2] == composed[3]


def test_an_override_is_stronger_than_any_recipe(conf, monkeypatch):
    monkeypatch.chdir(conf)
    for model in ([], ["model=folder", "model.folder=x"]):
        params = composition.compose_params(["train.lr=0.5", "method.adapter.rank=3", *model])
        assert (params["train"]["lr"], params["method"]["adapter"]["rank"]) == (0.5, 3)


def test_dvc_composes_the_same_recipe(conf, monkeypatch, tmp_path):
    monkeypatch.chdir(conf)
    for overrides in ([], ["method=full"], ["model=folder", "model.folder=x", "method=rslora"]):
        compose_and_dump(tmp_path / "params.yaml", str(conf / "conf"), None, "config", "", overrides)
        dumped = OmegaConf.to_container(OmegaConf.load(tmp_path / "params.yaml"))
        assert old_names.upgrade(dumped) == composition.compose_params(overrides)


@pytest.mark.heavy
def test_what_an_experiment_composed_is_kept_by_the_next_repro(bench):
    plain = values(bench)
    hydra_writes(bench, OmegaConf.merge(plain, {"train": {"lr": 0.5}}))
    assert compose(bench, DVC_EXP_NAME="bold-cat") == "wrote params.yaml (overrides: train.lr=0.5)"
    assert compose(bench) == "wrote params.yaml (overrides: train.lr=0.5)"
    hydra_writes(bench, plain)
    assert compose(bench, DVC_EXP_NAME="shy-dog") == "wrote params.yaml (defaults)"


@pytest.mark.heavy
def test_a_params_yaml_of_unknown_origin_is_kept_only_if_it_says_what_conf_says(bench):
    plain = values(bench)
    hydra_writes(bench, plain)
    assert compose(bench) == "wrote params.yaml (defaults)"
    hydra_writes(bench, OmegaConf.merge(plain, {"train": {"lr": 0.5}}))
    said = compose(bench, fails=True)
    assert "left by a run that stopped, or comes from elsewhere, and differs from conf/: train.lr=0.5; " in said
    command = re.search(r"`python (.*) && dvc repro`, or drop", said)[1].split()
    assert compose(bench, *command[2:]) == "wrote params.yaml (overrides: train.lr=0.5)"


@pytest.mark.heavy
def test_a_mistake_in_conf_leaves_params_yaml_as_it_was_and_can_be_corrected(bench):
    before = (bench / "params.yaml").read_bytes()
    edit(bench / "conf/data/environment.yaml", {"sources": [{"path": "chat.json"}]})
    said = compose(bench, fails=True)
    assert said.endswith(f"there is no file data/raw/chat.json; correct the path\n{recovery.UNTOUCHED}")
    assert (bench / "params.yaml").read_bytes() == before
    edit(bench / "conf/data/environment.yaml", {"sources": [{"path": "chats.json"}]})
    assert compose(bench) == "conf/ was edited, params.yaml follows: 'data.sources=[{path:chats.json}]'"


def test_a_stage_by_hand_refuses_a_stale_params_yaml(bench):
    edit(bench / "conf/recipe/tiny_lora.yaml", {"method.adapter.rank": 16})
    said = pipeline_repository.stage(bench, "train", fails=True, PYTHONPATH=str(ROOT))
    assert said.splitlines() == [
        "train: conf/ is newer than params.yaml; run `dvc repro` or `python -m stages.compose`",
        recovery.UNTOUCHED,
    ]


def test_an_edit_of_the_servers_settings_makes_nothing_stale(bench, monkeypatch):
    monkeypatch.chdir(bench)
    before = conf_digest()
    edit(bench / "conf/serve.yaml", {"port": 9000})
    assert conf_digest() == before
    edit(bench / "conf/recipe/tiny_lora.yaml", {"method.adapter.rank": 16})
    assert conf_digest() != before


def test_a_stage_by_hand_wants_a_params_yaml(bench):
    (bench / "params.yaml").unlink()
    said = pipeline_repository.stage(bench, "train", fails=True, PYTHONPATH=str(ROOT))
    sentence = "train: params.yaml is missing; `python -m stages.compose` writes it from conf/"
    assert said.splitlines() == [sentence, recovery.UNTOUCHED]


def test_inputs_are_looked_for_here_then_in_the_users_repository(tmp_path, monkeypatch):
    here, users, home = (tmp_path / name for name in ("here", "users", "home"))
    for folder in (here, users, home):
        folder.mkdir()
        (folder / f"{folder.name}.csv").touch()
        (folder / "rows.csv").touch()
    monkeypatch.chdir(here)
    monkeypatch.setenv("DVC_ROOT", str(users))
    monkeypatch.setenv("HOME", str(home))
    assert paths.locate("rows.csv", "key") == here / "rows.csv"
    assert paths.locate("users.csv", "key") == users / "users.csv"
    assert paths.locate("~/home.csv", "key") == home / "home.csv"
    assert paths.locate(str(home), "key", folder=True) == home
    with pytest.raises(ValueError, match=r"^key: there is no file \.; correct the path$"):
        paths.locate(".", "key")


@pytest.mark.heavy
@pytest.mark.parametrize("overrides", OVERRIDES, ids=" ".join)
def test_recorded_overrides_make_the_same_params_again(conf, monkeypatch, overrides):
    monkeypatch.chdir(conf)
    plain, wanted = composition.compose_params([]), composition.compose_params(overrides)
    recorded = composition.overrides_between(plain, wanted)
    assert recorded
    assert composition.compose_params(recorded) == wanted
    assert composition.overrides_between(wanted, wanted) == []


@pytest.mark.heavy
@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_text_can_be_an_override(conf, monkeypatch, text):
    monkeypatch.chdir(conf)
    plain = composition.compose_params([])
    wanted = {**plain, "data": {**plain["data"], "name": text, "sources": [{"path": text, "fields": {"a": text}}]}}
    assert composition.compose_params(composition.overrides_between(plain, wanted)) == wanted


def test_of_a_long_value_its_length_is_printed(caplog):
    caplog.set_level("INFO", "refrain")
    composition.log_written(["seed=1", f"template.jinja={'x' * 1500}"])
    assert caplog.messages == ["wrote params.yaml (overrides: seed=1 template.jinja=... (1,500 characters))"]


@pytest.mark.heavy
def test_printed_overrides_can_be_pasted_into_a_shell(bench):
    sources = [{"path": "chats.json", "split": "train"}]
    edit(bench / "params.yaml", {"data.sources": sources, "template.jinja": "it's {{ '\\n' }}, $HOME"})
    wanted = values(bench)
    pasted = compose(bench).removeprefix("wrote params.yaml (overrides: ").removesuffix(")")
    compose(bench, "seed=1")
    pipeline_repository.run(bench, "bash", "-c", f"python -m stages.compose {pasted}", PYTHONPATH=str(ROOT))
    assert values(bench) == wanted
