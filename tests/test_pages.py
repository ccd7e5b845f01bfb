"""The pages tell the truth: every command exists, every value composes, every table is what the code says."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args, get_origin

import presets
import pytest
import yaml
from dvc.cli.parser import get_main_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from places import ROOT

from refrain.chat import encoding
from refrain.cli import main
from refrain.data.readers import files
from refrain.data.readers.raw_rows import RawRow, RowBlock
from refrain.data.shapes import errors, parsing, recognition, registry, turn_rows
from refrain.pipeline import config_keys, params, schema, validation
from refrain.training.audit import faults

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
OUTS = {
    path for stage in PIPELINE.values() for out in stage["outs"] for path in (out if isinstance(out, dict) else [out])
}
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
PROGRAMS = ("dvc", "refrain", "make", "python")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRESET = re.compile(r"`(conf/\S+\.yaml)`:\n\n```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
MODULE = re.compile(r"(?<![\w./-])[a-z_]+/[\w/]+\.py\b")
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")
WORDS = {bool: "true or false", str: "text", int: "whole number", float: "number"}
# One letter of each word stands in brackets, so that this file does not name what it forbids.
MACHINE = r"(?<![\w./:-])/(?:[h]ome|[r]oot|[U]sers|[w]ork)/\w"
REGISTRY = r"index[-]url|python[h]osted|py[p]i\b|artifact[o]ry|dev[p]i|/sim[p]le\b"


def tables(text: str) -> list[str]:
    """The lines of all tables, but not those in code blocks."""
    return [line for line in FENCE.sub("", text).splitlines() if line.startswith("|")]


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, row by row, without its header."""
    section = re.split(r"^#+ ", (ROOT / page).read_text().split(f"# {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in tables(section)[2:]]


def first_column(page: str, heading: str) -> list[str]:
    return [row[0].strip("` ") for row in table(page, heading)]


def commands(page: Path) -> list[str]:
    """Every line of the `sh` blocks and every code span of the tables that begins with one of our programs."""
    text = page.read_text()
    blocks = [block for kind, block in FENCE.findall(text) if kind == "sh"]
    lines = [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]
    spans = [span for line in tables(text) for span in SPAN.findall(line)]
    return [line for line in lines + spans if line.split()[:1] and line.split()[0] in PROGRAMS and " " in line]


def words(command: str) -> list[str]:
    """A command as a shell splits it, up to where it redirects or ends."""
    split = shlex.split(command)
    return split[: next((i for i, word in enumerate(split) if word in (">", "<", "|", "&&", ";")), None)]


def swept(overrides: list[str]) -> list[list[str]]:
    """The overrides of each experiment of a sweep, or the same once."""
    combinations: list[list[str]] = [[]]
    for override in OverridesParser.create().parse_overrides(overrides):
        line = str(override.input_line)
        values = override.sweep_string_iterator() if override.is_sweep_override() else None
        lines = [line] if values is None else [f"{override.get_key_element()}={value}" for value in values]
        combinations = [[*before, line] for before in combinations for line in lines]
    return combinations


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """conf/ with the presets that the pages show."""
    folder = tmp_path_factory.mktemp("pages") / "conf"
    shutil.copytree(ROOT / "conf", folder)
    for page in PAGES:
        for path, text in PRESET.findall(page.read_text()):
            (folder.parent / path).write_text(text)
    OmegaConf.save(params.compose_with_hydra("config", folder, []), folder.parent / "params.yaml")
    return folder


def check_dvc(arguments: list[str], conf: Path) -> None:
    options = get_main_parser().parse_args(arguments)
    named = [*(getattr(options, "targets", None) or []), *([options.path] if arguments[0] == "get" else [])]
    assert set(named) <= set(PIPELINE) | OUTS
    experiments = swept(getattr(options, "set_param", None) or [])
    assert len(experiments) == 1 or options.queue
    for overrides in experiments:
        params.to_config(params.compose_with_hydra("config", conf, overrides))


def check_module(name: str, arguments: list[str], conf: Path) -> None:
    assert importlib.util.find_spec(name)
    if name.startswith("stages."):
        source, folder = ("config", conf) if name == "stages.compose" else ("params", conf.parent)
        params.to_config(params.compose_with_hydra(source, folder, arguments))


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("page", "command"), [pytest.param(p, c, id=f"{p.stem}: {c}") for p in PAGES for c in commands(p)]
)
def test_every_command_exists(page, command, conf):
    match words(command):
        case ["make", *targets]:
            assert set(targets) <= set(TARGETS)
        case ["refrain", *arguments]:
            main.build_parser().parse_args(arguments)
        case ["dvc", *arguments]:
            check_dvc(arguments, conf)
        case ["python", "-m", name, *arguments]:
            check_module(name, arguments, conf)
        case _:
            raise AssertionError(f"{page.name}: nobody knows how to check {command}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert not [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_are_where_a_page_says(page):
    named = MODULE.findall(page.read_text())
    assert not [path for path in named if not (ROOT / path).is_file() and not (ROOT / "refrain" / path).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_presets_on_a_page_are_shown_as_complete_files(page):
    shown = [kind for kind, _ in FENCE.findall(page.read_text()) if kind == "yaml"]
    assert len(shown) == len(PRESET.findall(page.read_text()))


def test_templates_on_the_pages_can_be_learned_from(tokenizer):
    presets = [yaml.safe_load(text) for page in PAGES for path, text in PRESET.findall(page.read_text())]
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "there"}] * 2
    for jinja in [preset["jinja"] for preset in presets if "jinja" in preset]:
        assert encoding.encode_conversation(encoding.ChatTokenizer(tokenizer, jinja, {"eos_token": "<|end|>"}), turns)[
            "labels"
        ]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_the_pipeline_table_of_the_readme_lists_every_stage():
    assert first_column("README.md", "The pipeline") == list(PIPELINE)


def keys(kind, place=""):
    """Each key below a section with its type in words; sections that are always there are no keys of their own."""
    for name, hint in config_keys.fields_of(kind).items():
        path, nested = f"{place}{name}", config_keys.element_type(hint) or hint
        if hint is not nested or not config_keys.fields_of(hint) or NoneType in get_args(hint):
            yield path, worded(hint)
        if config_keys.fields_of(nested):
            below = {list: "[]", dict: ".<name>"}.get(get_origin(hint), "")
            yield from keys(nested, f"{path}{below}.")


def worded(hint) -> str:
    if isinstance(hint, UnionType):
        return f"{worded(get_args(hint)[0])} or null"
    if get_origin(hint) in (list, dict):
        return f"{'list' if get_origin(hint) is list else 'map'} of {worded(get_args(hint)[-1])}s"
    return WORDS.get(hint, "section")


def test_the_table_of_keys_is_the_schema():
    shown = [(row[0].strip("`"), row[1]) for row in table("docs/configuration.md", "Every key")]
    assert sorted(shown) == sorted(keys(schema.Config))


def test_the_table_of_groups_is_conf():
    shown = {row[0].strip("`"): SPAN.findall(row[1]) for row in table("docs/configuration.md", "Groups and presets")}
    assert shown == {group.name: presets.options(group.name) for group in (ROOT / "conf").iterdir() if group.is_dir()}


@pytest.mark.parametrize(("page", "heading", "group"), [
    ("docs/models.md", "Templates", "template"),
    ("docs/models.md", "Presets", "method"),
    ("docs/onnx.md", "Variants", "export"),
])  # fmt: skip
def test_the_presets_of_a_group_are_those_in_conf(page, heading, group):
    assert sorted(first_column(page, heading)) == presets.options(group)


@pytest.mark.parametrize(("mistake", "sentence"), table("docs/configuration.md", "What is refused"))
def test_a_mistake_is_answered_as_the_page_says(mistake, sentence, monkeypatch):
    monkeypatch.chdir(ROOT)  # the sentence says conf/method, not where it lies
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        params.to_config(params.compose_with_hydra("config", Path("conf"), [mistake.strip("`")]))


@pytest.mark.parametrize(("heading", "reasons"), [
    ("quarantine.jsonl: broken rows", errors.QUARANTINED),
    ("quarantine.jsonl: rows filtered by a policy", errors.SET_ASIDE),
    ("duplicates.jsonl", errors.DUPLICATES),
])  # fmt: skip
def test_the_reasons_are_those_of_the_code(heading, reasons):
    assert {row[0].strip("`"): row[1] for row in table("docs/data.md", heading)} == reasons


@pytest.mark.heavy
def test_the_policies_are_those_of_the_code():
    shown = {row[0].strip("`"): SPAN.findall(row[1]) for row in table("docs/data.md", "Policies")}
    assert shown.pop("pii") == ["[]", *validation.PII]
    assert shown == {name: list(choices) for name, choices in validation.POLICIES.items()}
    assert all(getattr(presets.config().data.policies, name) == choices[0] for name, choices in shown.items())


def test_formats_are_those_of_the_code():
    section = (ROOT / "docs/data.md").read_text().split("## Formats\n")[1]
    assert SPAN.findall(section.split(", each")[0]) == list(files.FORMATS)


@pytest.mark.heavy
def test_every_shape_is_shown_with_a_row_that_it_reads():
    shown = {row[0].strip("`"): json.loads(row[1].strip("`")) for row in table("docs/data.md", "Shapes")}
    assert set(shown) == {shape.name for shape in registry.SHAPES}
    for name, value in shown.items():
        rows = [RawRow(line, row) for line, row in enumerate(value if name == "turns" else [value], 1)]
        layout = recognition.recognise_layout(schema.SourceConfig(path="example"), rows)
        assert layout.shape.name == name
        if name == "turns":
            (block,) = turn_rows.group_blocks([RowBlock(tuple(rows))], layout.read, None)
            rows, layout = block.raw_rows, recognition.conversation_layout(layout)
        for said in parsing.parse_row(rows[0], layout, presets.config().data.policies):
            assert said["messages"][-1]["role"] == "assistant"


def test_no_file_names_a_machine_or_a_registry():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    named = [ROOT / name for name in filter(None, listed.split("\0"))]
    texts = {file: file.read_text(encoding="utf-8", errors="replace") for file in named if file.is_file()}
    forbidden = re.compile(f"{MACHINE}|{REGISTRY}|{re.escape(str(ROOT))}/")
    found = {file.relative_to(ROOT): forbidden.search(text) for file, text in texts.items()}
    assert {str(name): hit[0] for name, hit in found.items() if hit} == {}


def test_nothing_tells_people_to_install_the_project_that_has_the_short_name_on_the_package_index():
    files = [*PAGES, *(ROOT / "refrain").rglob("*.py"), ROOT / "pyproject.toml"]
    named = {name for file in files for name in re.findall(r"[\"'](refrain(?:-\w+)?)(?=\[| @ )", file.read_text())}
    assert named == {tomllib.loads(files[-1].read_text())["project"]["name"]} == {"refrain-lm"}


def test_the_invariants_of_the_audit_are_those_of_the_code():
    shown = [(row[0], row[1]) for row in table("docs/data.md", "The audit before training")]
    assert shown == [(meaning.invariant, meaning.wrong) for meaning in faults.FAULTS.values()]
