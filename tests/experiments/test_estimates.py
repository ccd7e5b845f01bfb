from dataclasses import replace

import presets
import psutil
import pytest

from refrain.chat.records import write_rows
from refrain.experiments import estimates, machine
from refrain.models.pretrained import facts

MACHINE = machine.Machine(free_memory=10**10, free_disk=10**11, flops=1e11, bandwidth=2e10)


@pytest.fixture(scope="module")
def shape(base):
    return facts.read_facts(base)


@pytest.fixture
def prepared(tmp_path, rows):
    for name, part in (("train", rows), ("val", rows[:3]), ("test", [])):
        write_rows(tmp_path / f"{name}.jsonl", part)
    return tmp_path


def test_rows_are_measured_in_the_tokens_of_the_model(prepared, talk, rows):
    load = estimates.read_workload(prepared, talk)
    encoded = [estimates.encoding.encode_conversation(talk, row["messages"]) for row in rows]
    lengths = [len(row["input_ids"]) for row in encoded]
    labels = sum(label != -100 for row in encoded for label in row["labels"])
    assert (load.rows, load.tokens, load.longest) == (16, sum(lengths) / 16, max(lengths))
    assert load.labelled == labels / sum(lengths)
    assert (load.held_out, load.test) == (3, 3)


def test_of_many_rows_some_are_measured_and_all_are_counted(prepared, talk, rows, monkeypatch):
    monkeypatch.setattr(estimates, "SAMPLE", 4)
    load = estimates.read_workload(prepared, talk)
    assert load.rows == 16 and load.tokens * 4 == pytest.approx(
        sum(len(estimates.encoding.encode_conversation(talk, row["messages"])["input_ids"]) for row in rows[::4])
    )


def test_every_stage_and_every_variant_has_its_line(shape):
    cfg = presets.config()
    needs = estimates.estimate_stages(shape, cfg, estimates.assume_workload(512), MACHINE)
    served = [f"serve {name}" for name in cfg.export.variants]
    assert list(needs) == ["base", "train", "merge", "export_onnx", "evaluate", *served, "DVC cache"]


def test_twice_the_rows_take_twice_the_time(shape):
    cfg, load = presets.config(), estimates.assume_workload(512)
    once = estimates.train_seconds(shape, cfg, load, MACHINE)
    twice = replace(load, rows=2 * load.rows, held_out=2 * load.held_out)
    assert estimates.train_seconds(shape, cfg, twice, MACHINE) == pytest.approx(2 * once)


@pytest.mark.parametrize(
    ("overrides", "tokens"),
    [([], 2048), (["train.micro_batch_tokens=64"], 512), (["train.batch_size=2"], 1024)],
)
def test_a_pass_has_as_many_tokens_as_may_be_or_as_there_are(overrides, tokens):
    assert estimates.largest_pass(presets.config(*overrides), estimates.assume_workload(512)).tokens == tokens


def test_a_step_of_short_rows_is_smaller_than_a_pass_may_be():
    load = replace(estimates.assume_workload(512), tokens=49.0, deviation=15.0, longest=120)
    assert estimates.largest_pass(presets.config(), load).tokens == 16 * 49 + 4 * 15 * 4
    assert estimates.largest_pass(presets.config("train.batch_size=1"), load).tokens == 120


def test_decoding_alone_is_bound_by_reading_and_in_a_large_batch_by_multiplying(shape):
    alone, together = (estimates.decode_seconds(shape, 32, "onnx", 1, rows, MACHINE) for rows in (1, 1000))
    numbers = shape.matrices + shape.vocabulary * shape.width
    assert alone == pytest.approx(numbers * 4 / (estimates.READS["onnx"] * MACHINE.bandwidth))
    assert together == pytest.approx(1000 * 2 * numbers / (estimates.TRAINS * MACHINE.flops))


def test_the_machine_says_what_it_has(monkeypatch):
    monkeypatch.setattr(machine, "READ_BYTES", 2**16)
    monkeypatch.setattr(machine, "SIDE", 16)
    found = machine.measure_machine()
    assert found.flops > 0 and found.bandwidth > 0 and found.free_disk > 0
    assert 0 < found.free_memory <= psutil.virtual_memory().total
