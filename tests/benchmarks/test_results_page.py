"""docs/results.md keeps a run for each processor, and a command takes one of them anew."""

import re
import subprocess

import pytest
from places import ROOT

from benchmarks import results
from benchmarks.harness.machine import processor

OLD, OTHER = "AMD EPYC (family 26, model 2)", "AMD EPYC (family 25, model 1)"
FIRST = f"`python -m benchmarks.serve KEEP`, commit 0123abc, {OLD}, 2 cores, 5 min:\n\n| a |\n|---|\n| 1 |\n\n"
SECOND = f"`python -m benchmarks.serve`, commit 0456def, {OTHER}, 4 cores, 12 min:\n\n```\nb\n```\n\n"
PAGE = f"""# Results

<!-- begin serve: python -m benchmarks.serve KEEP; refrain/serving conf -->
{FIRST}{SECOND}<!-- end serve -->

<!-- begin rows, one run: python -m benchmarks.published DATA; refrain/data -->
<!-- end rows -->
"""


@pytest.fixture
def blocks():
    return results.read_blocks(PAGE)


def new_run(name):
    return results.Run("python -m benchmarks.serve KEEP", "789abc0", name, f"new, {name}\n")


def test_a_block_knows_its_command_its_code_and_its_runs(blocks):
    serve, rows = blocks.values()
    assert (serve.command, serve.paths) == ("python -m benchmarks.serve KEEP", ["refrain/serving", "conf"])
    assert [(run.commit, run.processor) for run in serve.runs] == [("0123abc", OLD), ("0456def", OTHER)]
    assert [run.text for run in serve.runs] == [FIRST, SECOND]
    assert rows.runs == [] and rows.is_one_run and not serve.is_one_run


def test_a_run_takes_the_place_of_the_one_on_its_processor_and_leaves_the_others(blocks):
    assert blocks["serve"].with_run(new_run(OTHER)) == f"{FIRST}new, {OTHER}\n"
    assert blocks["serve"].with_run(new_run(OLD)) == f"new, {OLD}\n{SECOND}"
    assert blocks["serve"].with_run(new_run("Xeon")) == f"{FIRST}{SECOND}new, Xeon\n"


def test_a_block_of_one_run_keeps_the_last_whatever_its_processor(blocks):
    filled = PAGE.replace("<!-- end rows -->", f"{FIRST}<!-- end rows -->")
    assert results.read_blocks(filled)["rows"].with_run(new_run(OTHER)) == f"new, {OTHER}\n"
    assert blocks["rows"].with_run(new_run(OTHER)) == f"new, {OTHER}\n"


def test_what_is_measured_can_be_read_again(tmp_path):
    block = results.Block("own", "python -c 'print(7)'", [], False, [])
    run = results.measure(block, {"KEEP": tmp_path})
    assert (run.command, run.processor) == (block.command, processor()) and "```\n7\n```" in run.text
    assert results.read_runs(SECOND + run.text)[1] == run


def test_a_place_that_is_not_given_is_asked_for(tmp_path):
    block = results.Block("own", "python -m benchmarks.published DATA", [], True, [])
    with pytest.raises(SystemExit, match="own: its command needs --data FOLDER"):
        results.measure(block, {"KEEP": tmp_path})


def test_a_run_is_stale_once_its_code_has_changed_or_its_command():
    head = results.git("rev-parse", "--short", "HEAD").strip()
    first = results.git("rev-list", "--max-parents=0", "HEAD").split()[0]
    block = results.Block("own", "a", ["README.md"], False, [])
    assert results.state_of(block, results.Run("a", head, OLD, "")) == f"as at {head}"
    assert results.state_of(block, results.Run("b", head, OLD, "")) == "stale: another command"
    assert results.state_of(block, results.Run("a", "f" * 40, OLD, "")).endswith("is not in this clone")
    assert results.state_of(block, results.Run("a", first, OLD, "")).startswith("stale: ")
    assert results.state_of(block, None) == "never taken"


def test_the_code_of_each_block_is_there_and_its_command_a_module():
    for block in results.read_blocks(results.PAGE.read_text(encoding="utf-8")).values():
        assert block.paths or block.name == "sampling"
        assert not [path for path in block.paths if not (ROOT / path).exists()]
        if module := re.match(r"python -m benchmarks\.(\w+)", block.command):
            assert (ROOT / f"benchmarks/{module[1]}.py").is_file()


def test_every_table_of_the_page_is_printed_by_a_command():
    text = results.PAGE.read_text(encoding="utf-8")
    assert "|---" not in results.BLOCK.sub("", text.split("<!-- end glance -->")[1])
    assert subprocess.run(["git", "check-ignore", "-q", "tmp/benchmarks"], cwd=ROOT).returncode == 0
