"""The style guide that runs: rooms import downwards, stages are small, dvc.yaml tells the truth."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from places import ROOT

from refrain.pipeline import paths

ROOMS = {  # lowest floor first: a room may import those above it in this list, and torch only where it says so
    "pipeline": False,
    "chat": False,
    "data": False,
    "training": True,
    "models": True,
    "runtime": False,
    "evaluation": False,
    "export": False,
    "generation": False,
    "experiments": False,
    "cli": False,
}
WITHOUT_TORCH = {"training/audit", "training/checkpoints", "training/batching", "training/distributed/launcher"}
FOLDERS = {*ROOMS} - {"models"} | {"models/pretrained", "models/pytorch"}  # what dvc.yaml may name
FOR_PEOPLE = {"generation", "experiments", "cli"}  # no stage depends on them
LIBRARY = {
    path.relative_to(ROOT / "refrain").with_suffix("").as_posix(): path
    for path in sorted((ROOT / "refrain").rglob("[!_]*.py"))
}
STAGES = sorted((ROOT / "stages").glob("[!_]*.py"))
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def nodes(source, *kinds):
    return [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, kinds)]


@cache
def imported(source):
    """Every name in an import of a file, wherever it stands: refrain.chat.encoding, torch, stages.train."""
    whole = {alias.name for node in nodes(source, ast.Import) for alias in node.names}
    parts = nodes(source, ast.ImportFrom)
    return whole | {node.module for node in parts} | {f"{node.module}.{a.name}" for node in parts for a in node.names}


def modules(source):
    """The modules of refrain that a file imports."""
    return {name for name in LIBRARY if f"refrain.{name.replace('/', '.')}" in imported(source)}


@cache
def reached(source):
    direct = modules(source)
    return direct.union(*(reached(LIBRARY[name]) for name in direct))


def room(module):
    return module.split("/")[0]


def folder(module):
    return next(f for f in sorted(FOLDERS, key=len, reverse=True) if module.startswith(f"{f}/"))


def attributes(source, of):
    return [n.attr for n in nodes(source, ast.Attribute) if isinstance(n.value, ast.Name) and n.value.id == of]


def outs(stage):
    listed = stage.get("outs", []) + stage.get("metrics", [])
    return {path for out in listed for path in ([out] if isinstance(out, str) else out)}


def code(stage):
    return [dep for dep in stage["deps"] if dep.startswith(("stages/", "refrain/"))]


def data(stage):
    return {*stage["deps"]} - {*code(stage)}


def test_every_module_stands_in_a_room():
    assert {room(name) for name in LIBRARY} == set(ROOMS)


@pytest.mark.parametrize("name", LIBRARY)
def test_rooms_import_downwards(name):
    order = list(ROOMS)
    assert {room(other) for other in modules(LIBRARY[name])} <= set(order[: order.index(room(name)) + 1])
    assert not [other for other in imported(LIBRARY[name]) if other.split(".")[0] in ("stages", "tests")]


def test_no_circle():
    assert list(TopologicalSorter({name: modules(path) for name, path in LIBRARY.items()}).static_order())


@pytest.mark.parametrize("source", [*LIBRARY.values(), *STAGES], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_functions_fit_on_a_screen(source):
    assert not [n.name for n in nodes(source, ast.FunctionDef) if n.end_lineno - n.lineno >= 50]


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


@pytest.mark.parametrize("source", STAGES, ids=lambda path: path.stem)
def test_a_stage_hands_on_sections_never_the_whole_configuration(source):
    uses = [name for name in nodes(source, ast.Name) if name.id == "cfg" and isinstance(name.ctx, ast.Load)]
    assert len(uses) == len(attributes(source, of="cfg"))


@pytest.mark.parametrize("source", [s for s in STAGES if s.stem != "compose"], ids=lambda path: path.stem)
def test_a_stage_depends_on_exactly_the_folders_and_the_values_it_reaches(source):
    stage = DVC[source.stem]
    folders = {f"refrain/{folder(name)}" for name in reached(source)}
    assert code(stage)[0] == f"stages/{source.name}" and {*code(stage)[1:]} == folders
    assert not [name for name in reached(source) if room(name) in FOR_PEOPLE]
    assert sorted(stage["params"]) == sorted(set(attributes(source, of="cfg")))


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


@pytest.mark.parametrize("source", [*LIBRARY.values(), *STAGES], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_nothing_that_is_read_can_run_code(source):
    assert not {"pickle", "dill", "joblib", "marshal", "shelve"} & imported(source)
    calls = {ast.unparse(call.func) for call in nodes(source, ast.Call)}
    assert not {"torch.load", "eval", "exec", "yaml.load", "np.load", "numpy.load"} & calls
    trusts = [word for word in nodes(source, ast.keyword) if word.arg == "trust_remote_code"]
    assert all(isinstance(word.value, ast.Constant) and word.value.value is False for word in trusts)


@pytest.mark.heavy
def test_only_rooms_that_say_so_load_torch():
    free = [n for n in LIBRARY if not ROOMS[room(n)] or any(n.startswith(free) for free in WITHOUT_TORCH)]
    names = [f"refrain.{n.replace('/', '.')}" for n in free] + [f"stages.{source.stem}" for source in STAGES]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    if {'torch', 'transformers'} & sys.modules.keys():\n"
        "        sys.exit(f'{name} loads torch or transformers')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
