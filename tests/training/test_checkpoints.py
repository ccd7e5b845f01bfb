import os
import shutil
import subprocess
import sys
from pathlib import Path

import pipeline_repository
import pytest
from places import ROOT
from short_trainings import LORA, At, die, digest, fit

from refrain.pipeline import schema
from refrain.training import checkpoints


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """A working directory of its own."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checkpoint(folder, step, content="weights"):
    """A sealed checkpoint."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_text(content)
    checkpoints.seal_checkpoint(path)
    return path


def key(settings=(1, "lr"), content="rows", device="AVX2"):
    Path("data").mkdir(exist_ok=True)
    Path("data/train.jsonl").write_text(content)
    return checkpoints.fingerprint(settings, [Path("data")], device)


def test_a_key_is_of_exactly_these_inputs():
    assert key() == key()
    others = [key(settings=(2, "lr")), key(content="other rows"), key(device="AVX512")]
    assert len({key(), *others}) == 4
    Path("data/more.jsonl").write_text("")
    assert key() not in others and key() != others[0]


def test_a_key_is_of_the_values_of_a_section():
    keys = [key(settings=[schema.TemplateConfig(name, None)]) for name in ("default", "default", "chatml")]
    assert keys[0] == keys[1] != keys[2]


def test_a_key_is_of_the_code_that_is_loaded(workspace):
    """In a copy of the library, an edit of a loaded module counts, and one of another does not."""
    pipeline_repository.copy(workspace / "copy", "refrain")
    ask = "from refrain.training import batching, checkpoints; print(checkpoints.fingerprint([], [], 'cpu'))"

    def found():
        return pipeline_repository.run(workspace / "copy", sys.executable, "-c", ask)

    before = found()
    (workspace / "copy/refrain/cli/main.py").write_text("# edited\n")
    assert found() == before
    with (workspace / "copy/refrain/training/batching.py").open("a") as file:
        file.write("# edited\n")
    assert found() != before


def test_a_key_is_of_the_libraries(monkeypatch):
    before = key()
    monkeypatch.setattr(checkpoints, "LIBRARIES", ("numpy",))
    assert key() != before


def test_checkpoints_live_in_the_workspace_also_for_a_temporary_copy(monkeypatch, tmp_path):
    assert checkpoints.checkpoints_root() == Path(".checkpoints")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "workspace"))
    assert checkpoints.checkpoints_root() == tmp_path / "workspace/.checkpoints"


def test_the_folder_is_gone_after_success_and_stays_after_failure():
    with pytest.raises(ZeroDivisionError), checkpoints.exclusive_folder("a") as folder:
        checkpoint(folder, 3)
        raise ZeroDivisionError
    with checkpoints.exclusive_folder("a") as folder:
        assert checkpoints.latest_checkpoint(folder) == folder / "checkpoint-3"
    assert list(checkpoints.checkpoints_root().iterdir()) == []


def test_the_newest_whole_one_counts():
    folder = Path("run")
    for step in (9, 10, 100):
        checkpoint(folder, step)
    assert checkpoints.latest_checkpoint(folder).name == "checkpoint-100"
    (folder / "checkpoint-100/model.safetensors").write_text("weightz")
    assert checkpoints.latest_checkpoint(folder).name == "checkpoint-10"
    (folder / "checkpoint-10/manifest.json").write_text('{"files": {"model')
    assert checkpoints.latest_checkpoint(folder).name == "checkpoint-9"
    (folder / "checkpoint-9/manifest.json").unlink()
    assert checkpoints.latest_checkpoint(folder) is None


def test_what_is_not_whole_is_removed_when_a_training_is_claimed(caplog):
    caplog.set_level("INFO", "refrain")
    with pytest.raises(ZeroDivisionError), checkpoints.exclusive_folder("a") as folder:
        checkpoint(folder, 1)
        (checkpoint(folder, 2) / "model.safetensors").write_text("half")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), checkpoints.exclusive_folder("a") as folder:
        assert [path.name for path in checkpoints.list_checkpoints(folder)] == ["checkpoint-1"]
        raise ZeroDivisionError
    assert "checkpoint-2 is not whole and is removed" in caplog.text


def test_rotation_keeps_the_newest_whole_one():
    folder = Path("run")
    for step in (1, 2, 3):
        checkpoint(folder, step)
    (folder / "checkpoint-3/model.safetensors").unlink()
    checkpoints.prune_checkpoints(folder)
    assert [path.name for path in checkpoints.list_checkpoints(folder)] == ["checkpoint-3", "checkpoint-2"]


HOLD = """
import sys
from refrain.training import checkpoints
with checkpoints.exclusive_folder("a"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(workspace):
    """A process that works on the training `a` until its stdin is closed."""
    settings = {"cwd": workspace, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD], **settings, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_clean_frees_what_no_process_works_on(holder):
    for name in ("b", "c"):
        with pytest.raises(ZeroDivisionError), checkpoints.exclusive_folder(name) as folder:
            checkpoint(folder, 1, "w" * 1000)
            raise ZeroDivisionError
    assert checkpoints.remove_stale_checkpoints() > 2000
    assert sorted(path.name for path in checkpoints.checkpoints_root().iterdir()) == ["a", "a.lock"]
    assert checkpoints.remove_stale_checkpoints() == 0


def test_the_same_training_waits_for_its_other_process(holder, workspace):
    ask = (
        "import logging; logging.basicConfig(level='INFO', format='%(message)s')\n"
        "from refrain.training import checkpoints\n"
        "with checkpoints.exclusive_folder('a'): print('mine')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    second = subprocess.Popen([sys.executable, "-c", ask], cwd=workspace, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert second.stderr.readline() == "the same training still runs in another process; waiting for it to end\n"
    assert second.poll() is None
    holder.stdin.close()
    assert second.communicate(timeout=120)[0] == "mine\n"
    assert list(checkpoints.checkpoints_root().iterdir()) == []


def test_too_little_room_is_said_before_the_start(workspace):
    free = shutil.disk_usage(workspace).free
    checkpoints.require_disk_space(workspace, free // 2)
    with pytest.raises(OSError, match=r"checkpoints need [\d.]+ GB and [\d.]+ GB are free; make room, `refrain clean`"):
        checkpoints.require_disk_space(workspace, free * 2)


@pytest.mark.heavy
@pytest.mark.parametrize("step", [3, 4, 6])
def test_damaged_checkpoints_do_not_count(base, features, tmp_path, undisturbed, eager, step):
    settings = {"epochs": 2, "method": LORA}
    with pytest.raises(RuntimeError):
        fit(base, features, tmp_path / "killed", callbacks=[At(step, die)], **settings)
    newest = checkpoints.latest_checkpoint(tmp_path / "killed")
    state = newest / "optimizer.pt"
    state.write_bytes(state.read_bytes()[:-7])
    assert checkpoints.latest_checkpoint(tmp_path / "killed") is None
    resumed, again = fit(base, features, tmp_path / "killed", **settings)
    assert (digest(resumed), again) == undisturbed(**settings)


def test_too_small_a_disk_is_said_before_the_first_step(base, features, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"checkpoints need [\d.]+ GB and 0\.00 GB are free; .*`refrain clean`"):
        fit(base, features, tmp_path)
