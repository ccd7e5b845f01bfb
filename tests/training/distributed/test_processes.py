"""One training in two processes on Gloo: the same rows in each step, the same loss, one voice, one set of results."""

import csv
import re
import shutil
import signal

import presets
import pytest
from safetensors.torch import load_file, save_file
from two_processes import TWO, finished, run_joined

from refrain.pipeline import paths
from refrain.training import checkpoints
from refrain.training.distributed import processes
from stages import train

SHARDED = ("launch.processes=2", "launch.shard=true")


def learned():
    """The weights, as numbers and as bytes, and the curves of train and val."""
    (file,) = paths.ADAPTER.glob("*.safetensors")
    tables = (paths.LOSS / "plots/metrics" / name / "loss.tsv" for name in ("train", "val"))
    curves = [[float(row["loss"]) for row in csv.DictReader(table.open(), delimiter="\t")] for table in tables]
    return load_file(file), file.read_bytes(), *curves


@pytest.mark.slow
@pytest.mark.parametrize("launch", [TWO, SHARDED], ids=["whole", "sharded"])
@pytest.mark.parametrize(
    "overrides",
    [
        [*presets.SMALL, "train.lr=1e-2", "train.batch_size=5", "train.packing=true"],
        ["method=full", "train.lr=3e-3", "train.batch_size=15", "train.packing=false", "train.micro_batch_tokens=60"],
    ],
    ids=["lora-packed", "full-padded-in-small-passes"],
)
def test_two_processes_learn_what_one_learns(workspace, tmp_path, overrides, launch):
    """16 rows in steps of 5 and of 15: the last step has a single row, which only one process has."""
    train.main(workspace("train.epochs=2", "train.patience=1", *overrides))
    one, _, *curves = learned()
    first, second = run_joined(tmp_path, *launch)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    two, _, *again = learned()
    assert [pytest.approx(curve, abs=1e-4) for curve in curves] == again and curves[0][0] > curves[0][-1] + 0.5
    assert one.keys() == two.keys() and all((one[name] - two[name]).abs().max() < 1e-4 for name in one)
    assert not list(checkpoints.checkpoints_root().iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("launch", [TWO, SHARDED], ids=["whole", "sharded"])
def test_a_training_that_was_asked_to_stop_goes_on_to_the_same_bytes(workspace, started, launch, tmp_path):
    """With dropout, so that the chance of each process must have been kept."""
    workspace(*presets.SMALL, "train.epochs=10", "train.batch_size=3", "method.adapter.dropout=0.1")
    stopped = started(*launch)
    next(line for line in stopped.stderr if "step 12" in line)
    stopped.send_signal(signal.SIGTERM)
    code, said = finished(stopped)
    stopped = r"^train: stopped at step \d+ \(SIGTERM\); the next run goes on from there$"
    assert code == 130 and re.search(stopped, said, re.M)
    (folder,) = (path for path in checkpoints.checkpoints_root().iterdir() if path.is_dir())
    kept = checkpoints.latest_checkpoint(folder)
    assert len(list(kept.glob("rng_state_*.pth"))) == 2

    first, second = run_joined(tmp_path, *launch)
    assert (first.returncode, second.returncode, second.stderr) == (0, 0, ""), first.stderr + second.stderr
    assert f"going on from step {kept.name.rpartition('-')[2]}\n" in first.stderr
    resumed = learned()
    assert run_joined(tmp_path, *launch)[0].returncode == 0
    assert learned()[1:] == resumed[1:]


@pytest.mark.parametrize("things", [0, 1, 4, 5, 6])
def test_each_thing_is_the_turn_of_one_process_and_all_have_as_many_turns(things, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    dealt = []
    for number in range(3):
        monkeypatch.setenv("RANK", str(number))
        dealt.append(list(processes.own_turns(things)))
    assert len(set(map(len, dealt))) == 1
    assert sorted(turn for turns in dealt for turn in turns if turn < things) == list(range(things))


def test_a_world_size_without_a_rank_is_not_ours(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert processes.world_size() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launch", "packing"), [(TWO, "true"), (SHARDED, "false")], ids=["whole-packed", "sharded-padded"]
)
def test_a_training_that_diverges_ends_in_both_at_the_same_step(workspace, launch, packing, tmp_path):
    workspace("method=full", "train.lr=1e20", "train.epochs=3", f"train.packing={packing}", "train.batch_size=5")
    first, second = run_joined(tmp_path, *launch)
    sentence = r"^train: the \S.* is -?(?:nan|inf) after step (\d): .* lower train.lr=1e\+20$"
    steps = [re.findall(sentence, process.stderr, re.M) for process in (first, second)]
    assert len(steps[0]) == 1 and steps[0] == steps[1], first.stderr + second.stderr
    assert (first.returncode, second.returncode) == (1, 1) and "Traceback" not in first.stderr + second.stderr
    assert not paths.ADAPTER.exists()


@pytest.mark.slow
def test_a_base_that_is_not_finite_is_named_once(workspace, started, base, tmp_path):
    """Although each process holds a part of the weights alone."""
    workspace("train.epochs=1")
    spoilt = shutil.copytree(base, tmp_path / "spoilt")
    weights = load_file(spoilt / "model.safetensors")
    weights["model.layers.1.self_attn.o_proj.weight"][3, 5] = float("nan")
    save_file(weights, spoilt / "model.safetensors", {"format": "pt"})
    paths.BASE.unlink()
    paths.BASE.symlink_to(spoilt)
    code, said = finished(started(*SHARDED))
    assert code == 1 and said.count("not finite in model.layers.1.self_attn.o_proj.weight, so nothing") == 1, said
