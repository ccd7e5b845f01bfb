"""The style guide that runs: imports point one way, stages are small, dvc.yaml tells the truth."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from refrain import paths

ROOT = Path(__file__).parents[1]
LAYERS = [  # a module may import those on its left and those above, never the others
    ["paths", "config", "refusals", "launch", "composition", "workers"],  # how a stage starts
    ["manifest", "hardware", "revisions", "tracking"],  # what is written down, here and in earlier commits
    ["crew", "cluster", "workforce"],  # one function for many items, on all cores
    ["records", "inputs", "raw", "json_rows", "window", "documents", "quotes", "tables", "files"],
    ["rules", "pii", "conversations", "passages", "transcripts", "trees", "votes", "columns", "shapes", "policies"],
    ["templates", "tokens", "chat", "decoding", "words"],  # rows to tokens, and back
    ["marked", "lessons", "bounds", "lengths"],  # what of a row is learned, and how long it is
    ["ragged", "wording", "runs", "near"],  # what texts have in common
    ["parts", "spool", "corpus"],  # every row read
    ["contamination", "prompts", "neighbours", "splits", "filing", "augment", "additions", "balance", "datasheet"],
    ["session", "compact", "traced", "runtime"],  # an ONNX file that runs
    ["adapters", "models", "likelihood", "packing", "batches"],  # weights, and what they make of rows
    ["objective", "sft", "pairs", "preference"],  # what is learned
    ["outlines", "faults", "placement", "exam", "audit"],  # whether that is so
    ["processes", "sharding", "clock", "checkpoints", "keeper", "patience", "progress", "live", "trackers"],  # watched
    ["fitting", "training"],  # by the Trainer
    ["snapshot", "hub", "pretraining", "origin"],  # the base: fetched, or made
    ["weights", "decoder", "fields", "rotary", "families", "blocks", "drawing", "layers", "graph", "export"],  # to ONNX
    ["metrics", "likeness", "evaluation", "parity", "gate", "choice"],  # whether it is the model, and how good
    ["provenance", "lineup", "report", "info", "inspection", "drift", "rebuild", "verify", "sweep"],  # runs, looked at
    ["constraint", "sampling", "reply", "engine", "beam", "voice"],  # a reply as it grows
    ["terminal", "generate", "bench", "variants", "options", "cli"],  # its use
]
ORDER = [module for layer in LAYERS for module in layer]
LIBRARY = sorted((ROOT / "refrain").glob("[!_]*.py"))
STAGES = sorted((ROOT / "stages").glob("[!_]*.py"))
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
WITHOUT_TORCH = [
    *(name for layer in LAYERS[:10] for name in layer if name != "hardware"),  # how a stage starts, all that makes rows
    *["session", "compact", "traced", "runtime", "batches", "checkpoints", "outlines", "faults", "placement", "exam"],
    *["audit", "inspection", "constraint", "sampling", "reply", "engine", "beam", "voice", "generate", "bench"],
    *["variants", "options", "metrics", "choice", "report", "info", "rebuild", "verify", "sweep", "terminal", "cli"],
]


def nodes(source: Path, *kinds: type) -> list:
    return [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, kinds)]


@cache
def imported(source: Path) -> set[str]:
    """Every module that a file names in an import, wherever it stands: refrain.chat, torch, stages.train."""
    whole = {alias.name for node in nodes(source, ast.Import) for alias in node.names}
    parts = nodes(source, ast.ImportFrom)
    return whole | {node.module for node in parts} | {f"{node.module}.{a.name}" for node in parts for a in node.names}


def siblings(source: Path) -> set[str]:
    """The modules of refrain that a file imports."""
    return {name for name in ORDER if f"refrain.{name}" in imported(source)}


@cache
def reached(source: Path) -> set[str]:
    """The modules of refrain that a file imports, and the ones those import."""
    direct = siblings(source)
    return direct.union(*(reached(ROOT / f"refrain/{name}.py") for name in direct))


def attributes(source: Path, of: str) -> list[str]:
    """The name in every `of.<name>` of a file."""
    return [n.attr for n in nodes(source, ast.Attribute) if isinstance(n.value, ast.Name) and n.value.id == of]


def outs(stage: dict) -> set[str]:
    """Paths of a stage's outs, which dvc.yaml gives as text or as {path: options}."""
    listed = stage.get("outs", []) + stage.get("metrics", [])
    return {path for out in listed for path in ([out] if isinstance(out, str) else out)}


def data(stage: dict) -> set[str]:
    return {dep for dep in stage["deps"] if not dep.endswith(".py")}


def test_every_module_has_one_place_in_the_layers():
    assert sorted(ORDER) == [path.stem for path in LIBRARY]


@pytest.mark.parametrize("source", LIBRARY, ids=lambda path: path.stem)
def test_imports_point_one_way(source):
    assert siblings(source) <= set(ORDER[: ORDER.index(source.stem)])
    assert not [name for name in imported(source) if name.split(".")[0] in ("stages", "tests")]


@pytest.mark.parametrize("source", LIBRARY + STAGES, ids=lambda path: path.stem)
def test_functions_fit_on_a_screen(source):
    long = [n.name for n in nodes(source, ast.FunctionDef) if n.end_lineno - n.lineno >= 50]
    assert not long


@pytest.mark.parametrize("source", STAGES, ids=lambda path: path.stem)
def test_a_stage_is_a_paragraph_of_its_own(source):
    assert len(source.read_text().splitlines()) <= 50
    assert not [name for name in imported(source) if name.startswith("stages")]
    assert ast.get_docstring(ast.parse(source.read_text()))


def test_every_script_is_a_stage_that_runs_from_the_working_directory():
    # `python -m stages.x`, for so an experiment in a temporary copy runs the copy's code
    assert {name: stage["cmd"] for name, stage in DVC.items()} == {
        source.stem: f"python -m stages.{source.stem}" for source in STAGES
    }


@pytest.mark.parametrize("source", [s for s in STAGES if s.stem != "compose"], ids=lambda path: path.stem)
def test_a_stage_depends_on_exactly_the_code_and_the_values_it_reaches(source):
    stage = DVC[source.stem]
    code = [dep for dep in stage["deps"] if dep.endswith(".py")]
    assert code == [f"stages/{source.name}", *(f"refrain/{name}.py" for name in sorted(reached(source)))]
    assert sorted(stage["params"]) == sorted(set(attributes(source, of="cfg")))


@pytest.mark.parametrize("source", STAGES, ids=lambda path: path.stem)
def test_a_stage_hands_on_sections_never_the_whole_configuration(source):
    uses = [name for name in nodes(source, ast.Name) if name.id == "cfg" and isinstance(name.ctx, ast.Load)]
    assert len(uses) == len(attributes(source, of="cfg"))


def test_compose_depends_on_conf_alone():
    """Its code decides how params.yaml comes about, not what is in it, so an edit of it reruns nothing.

    It runs again when conf/ changes, and when params.yaml or a linked file does, for those are its outs.
    """
    assert DVC["compose"]["deps"] == [str(paths.CONF)]
    assert "params" not in DVC["compose"]
    assert outs(DVC["compose"]) == {str(paths.PARAMS), str(paths.LINKED_DATA), str(paths.LINKED_MODEL)}


def test_dvc_yaml_and_paths_name_the_same_places():
    ours = {str(value) for value in vars(paths).values() if isinstance(value, Path)}
    written = set().union(*map(outs, DVC.values()))
    read = set().union(*map(data, DVC.values()))
    assert written | {str(paths.CONF)} == ours
    assert not [path for path in read if not {path, *map(str, Path(path).parents)} & ours]


@pytest.mark.parametrize("source", [s for s in STAGES if s.stem != "compose"], ids=lambda path: path.stem)
def test_a_stage_touches_only_what_dvc_yaml_gives_it(source):
    stage = DVC[source.stem]
    places = {str(getattr(paths, name)) for name in set(attributes(source, of="paths")) if name.isupper()}
    assert places <= data(stage) | outs(stage)


def test_dvc_yaml_is_not_a_template():
    assert "${" not in (ROOT / "dvc.yaml").read_text()  # DVC would read params.yaml before compose has written it


@pytest.mark.parametrize("source", LIBRARY + STAGES, ids=lambda path: path.stem)
def test_nothing_that_is_read_can_run_code(source):
    assert not {"pickle", "dill", "joblib", "marshal", "shelve"} & imported(source)
    calls = {ast.unparse(call.func) for call in nodes(source, ast.Call)}
    assert not {"torch.load", "eval", "exec", "yaml.load", "np.load", "numpy.load"} & calls
    trusts = [word for word in nodes(source, ast.keyword) if word.arg == "trust_remote_code"]
    assert all(isinstance(word.value, ast.Constant) and word.value.value is False for word in trusts)


def test_what_starts_a_stage_and_what_uses_the_artifact_needs_no_torch():
    modules = [f"refrain.{name}" for name in WITHOUT_TORCH] + [f"stages.{source.stem}" for source in STAGES]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    if {'torch', 'transformers'} & sys.modules.keys():\n"
        "        sys.exit(f'{name} loads torch or transformers')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *modules], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
