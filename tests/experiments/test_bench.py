"""The table and the plot of variants tell what was measured, and whether the costs in conf/ chose well."""

import re
import sys
from dataclasses import replace

import pytest

from refrain.experiments import bench, pictures, speed_plot
from refrain.experiments.bench import Speed, measure_variant, medians
from refrain.pipeline import manifest

SPEEDS = {
    "fp32": Speed(start=0.5, prefill=700, decode=60, memory=700),
    "int8": Speed(start=0.2, prefill=1000, decode=150, memory=280),
    "int4": Speed(start=0.2, prefill=900, decode=156, memory=200),
}
PROOF = {"kl": 1e-4, "top1": 0.9991, "rouge": 0.5}


@pytest.fixture
def artifact(tmp_path):
    """A function that makes the folder of an artifact with a best."""

    def make(best):
        for name in [*SPEEDS, "best"]:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "model.onnx").write_bytes(bytes(1_000_000 * (1 + len(name) % 2)))
        proofs = {name: PROOF | {"rouge": rouge} for name, rouge in zip(SPEEDS, [0.6, 0.59, 0.4], strict=True)}
        struck = {"int2": PROOF}
        manifest.write_manifest(
            tmp_path, {"best": best, "parity": {"prompts": 9, "merged": {"kl": 0.0}, **proofs, **struck}}
        )
        return tmp_path

    return make


def test_the_table_lists_the_variants_that_passed(artifact):
    folder = artifact("int8")
    assert bench.passing_variants(folder) == ["fp32", "int8", "int4"], "neither int2, which is not there, nor best"
    out = folder / "reports/variants.md"
    rounds = [
        {name: replace(speed, decode=speed.decode + more) for name, speed in SPEEDS.items()} for more in (0, 9, -9)
    ]
    text = bench.write_report(folder, rounds, "a machine, 2 threads", out)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert lines[0] == bench.HEADER
    assert lines[3] == ["int8", "1.0", "0.20", "280", "1000", "150", "1.0e-04", "99.91%", "0.5900", "best"]
    assert len({len(line) for line in text.splitlines()[:5]}) == 1, "columns below each other"
    assert out.read_text().splitlines()[-1] == "![size and speed](variants.svg)"
    assert "int8: 1.0 MB, 150 tokens/s, ROUGE-L 0.590 (best)" in (out.parent / "variants.svg").read_text()


@pytest.mark.parametrize("best, sentence", [
    ("int4", "models/onnx/best is int4: the fastest here, or within 5% of it."),
    ("int8", "models/onnx/best is int8: the fastest here, or within 5% of it."),
    ("fp32", "models/onnx/best is fp32, 62% slower here than int4: `dvc exp run -S export.best=int4` ships that one."),
])  # fmt: skip
def test_a_best_that_is_slow_here_is_told_with_the_way_out(best, sentence):
    assert bench.best_is_fastest(SPEEDS, best) == sentence


def test_the_plot_shows_the_spread_of_the_rounds_from_zero_and_rings_the_best():
    points = [speed_plot.Point("fp32", 9.8, [5, 3, 4], 0.6, False), speed_plot.Point("int8", 2.9, [9, 9, 7], 0.5, True)]
    spec = speed_plot.build_spec(points)
    svg = pictures.draw_svg(spec)
    assert svg == pictures.draw_svg(spec)
    labels = re.findall(r'aria-label="([^"]*)"', svg)
    assert [label.partition(" for ")[2] for label in labels[:2]] == [
        "a linear scale with values from 0 to 10",
        "a linear scale with values from 0 to 9",
    ]
    spread = "decoded tokens per second, one sequence: {}; fastest: {}"
    assert [label.partition("; ")[2] for label in labels[2:4]] == [spread.format(3, 5), spread.format(7, 9)]
    assert labels[6] == "size on disk (MB): 2.9; speed: 9", "the ring"


def test_a_machine_that_cannot_draw_gets_the_table_and_the_way_to_the_plot(artifact, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    folder = artifact("int8")
    out = folder / "reports/variants.md"
    text = bench.write_report(folder, [SPEEDS], "a machine", out)
    assert text.endswith("is drawn with the extra train: pip install 'refrain-lm[train]'")
    assert not (out.parent / bench.PLOT).exists() and bench.PLOT not in out.read_text()


def test_medians_are_taken_number_by_number():
    rounds = [{"a": Speed(1, 10, 5, 3)}, {"a": Speed(3, 30, 1, 2)}, {"a": Speed(2, 20, 9, 1)}]
    assert medians(rounds) == {"a": Speed(2, 20, 5, 2)}


def test_a_variant_is_measured(onnx):
    speed = measure_variant(onnx / "int8", threads=1)
    assert 0 < speed.start < 60 and speed.prefill > speed.decode > 1 and speed.memory > 10
