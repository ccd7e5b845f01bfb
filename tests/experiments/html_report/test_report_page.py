"""The page of a run, of a repository whose names and rows are awkward: what it says, what it leaves out, and why."""

import html
import json
import re
import shutil

import pipeline_repository
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from html_files import HOSTILE, in_browser

from refrain.chat import records
from refrain.cli.main import main
from refrain.data.split_files import PLACES
from refrain.experiments import bench
from refrain.experiments.html_report import data_flow, loss_curves, proof_chain, proof_section, run_reports, svg
from refrain.pipeline import dvc_files, manifest, paths

pytestmark = pytest.mark.heavy
SCORES = {"exact_match": 0.5, "token_f1": 0.6, "bleu": 50.0, "rougeL": 0.7, "perplexity": 1.5, "rows": 3}
INTERVALS = {"rougeL": [0.612, 0.788], "bleu": [40.0, 60.0]}
MODELS = ("base", "merged", "onnx-fp32", "onnx-int8")
MISSED = "int8: its ROUGE-L is 2.00 points below the merged model's, export.variants.int8.thresholds.rouge allows 1"
MEASURES = {"whole": 2e-05, "cached": 2e-05, "batched": 2e-05, "chunked": 2e-05, "mean": 1e-06, "kl": 2e-07,
            "top1": 1.0, "greedy": 1.0, "lost": 0.0, "rouge": 0.7, "rounding": 1e-06, "prompts": 3,
            "tokens": 40, "fails": [], "missed_by_chance": [], "reached_by_chance": []}  # fmt: skip
PROOF = {"prompts": 3, "steps": 4, "merged": MEASURES,
         "fp32": {**MEASURES, "reference": "merged", "weights": {"bits": 32}, "intervals": {"kl": [1e-07, 3e-07]}},
         "int8": {**MEASURES, "lost": 2.0, "missed_by_chance": [MISSED],
                  "intervals": {"lost": [-1.0, 5.0]}}}  # fmt: skip
THRESHOLDS = {"relative_logits": 0.001, "kl": 1e-06, "top1": 1.0, "greedy": 1.0, "rouge": 0.0}
PARAMS = {
    "export": {"variants": {"fp32": {"thresholds": THRESHOLDS}, "int8": {"thresholds": {"top1": 0.96, "rouge": 1}}}},
    "merge": {"relative_logits": 0.001},
    "method": {"name": "lora", "adapter": {"rank": 8}},
    "model": {"name": "hub", "hub": "somebody/small-model"},
}
TRAIN = {"audit": {"train": {"learned": 0.5, "rows": 7}}, "kept": 4, "rows": 7, "steps": 4, "tokens": 90,
         "supervised_tokens": 45, "val_loss": {"before": 3.0, "after": 1.0}}  # fmt: skip


def source(**places):
    reasons = {"empty_text": places["quarantined"]} if "quarantined" in places else {}
    examples = {"empty_text": [{"id": f"0-{HOSTILE}:3", "message": f"line 3: {HOSTILE}"}]} if reasons else {}
    return {
        "rows": sum(places.values()),
        **dict.fromkeys(PLACES, 0),
        **places,
        "reasons": reasons,
        "examples": examples,
    }


def data_report(sources):
    totals = {place: sum(each[place] for each in sources.values()) for place in ("rows", *PLACES)}
    return {
        **totals,
        "sources": sources,
        "reasons": {"empty_text": totals["quarantined"]} if totals["quarantined"] else {},
    }


def entry(path, root=None):
    return {"path": str(path), "md5": manifest.dvc_md5(root / path) if root else f"{len(str(path))}.dir"}


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def record_stages(folder):
    """The stages of dvc.lock, by the reports that are in the folder."""
    made = {
        "prepare": ([], [paths.PREPARED], [paths.DATA_REPORT]),
        "train": ([paths.PREPARED], [paths.ADAPTER], [paths.LOSS, paths.TRAIN_REPORT]),
        "merge": ([paths.ADAPTER], [paths.MERGED], [paths.MERGE_REPORT]),
        "export_onnx": ([paths.MERGED, paths.MERGE_REPORT], [paths.ONNX], [paths.PARITY]),
        "evaluate": ([paths.ONNX, paths.PREPARED, paths.TRAIN_REPORT], [], [paths.METRICS, paths.PREDICTIONS]),
    }
    reports = {path for _, _, files in made.values() for path in files}
    stages = {
        name: {"deps": [entry(dep, folder if dep in reports else None) for dep in deps],
               "outs": [*map(entry, outs), *(entry(path, folder) for path in files)]}
        for name, (deps, outs, files) in made.items()
    }  # fmt: skip
    stages["evaluate"]["params"] = {str(paths.PARAMS): PARAMS}
    return stages


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A repository with the reports of a run, and the dvc.lock of its stages, as DVC would write it."""
    folder = tmp_path_factory.mktemp("reports") / "repository"
    pipeline_repository.copy(folder, "dvc.yaml", ".dvc", ".gitignore")
    sources = {f"0-{HOSTILE[:20]}": source(train=5, val=1, quarantined=2), "1-b_b.csv": source(train=2, test=3)}
    write(folder / paths.DATA_REPORT, data_report(sources))
    write(folder / paths.TRAIN_REPORT, TRAIN)
    write(folder / paths.MERGE_REPORT, {"whole": 2e-05, "rounding": 1e-06, "prompts": 3})
    write(folder / paths.PARITY, PROOF)
    write(folder / paths.METRICS, {name: {**SCORES, "intervals": INTERVALS} for name in MODELS})
    write(folder / paths.SUMMARY, {"rougeL": {"base": 0.1, "merged": 0.8, "fp32": 0.8, "int8": 0.7, "best": 0.7}})
    for name, rows in {
        "train": "1\t3.5\n2\t2.5\n3\t1.5\n4\t1.0\n",
        "val": "0\t3.0\n4\t1.0\n",
        "kept": "4\t1.0\n",
    }.items():
        write(folder / paths.LOSS / "plots/metrics" / name / "loss.tsv", f"step\tloss\n{rows}")
    for name in MODELS:
        answers = [HOSTILE if name == "merged" else "It is so.", "It is not so.", name]
        rows = [{"id": f"1-b_b.csv:{i}", "question": f"Why {i}? {HOSTILE}", "prediction": answer,
                 "reference": "It is so."} for i, answer in enumerate(answers)]  # fmt: skip
        (folder / paths.PREDICTIONS).mkdir(exist_ok=True)
        records.write_rows(folder / paths.PREDICTIONS / f"{name}.jsonl", rows)
    cells = [[name, "9.8", "0.01", "83", "46934", speed, *bench.parity_cells(PROOF[name]), best]
             for name, speed, best in (("fp32", "5865", ""), ("int8", "8458", "best"))]  # fmt: skip
    rows = [bench.HEADER, ["---"] * len(bench.HEADER), *cells]
    write(
        folder / bench.TABLE,
        "# Variants\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n\nA CPU, 2 threads.\n",
    )
    write(folder / paths.PARAMS, yaml.safe_dump(PARAMS))
    pipeline_repository.commit_run(folder, record_stages(folder))
    return folder


@pytest.fixture
def repository(run_folder, tmp_path, monkeypatch):
    return pipeline_repository.enter_copy(run_folder, tmp_path, monkeypatch)


@pytest.fixture
def written(repository):
    """A function that writes the page, and gives its text."""

    def write_page():
        assert main(["report", "--html", "page.html"]) == 0
        return (repository / "page.html").read_text(encoding="utf-8")

    return write_page


def visible_text(page):
    return html.unescape(" ".join(re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", page, flags=re.S).split()))


def test_it_says_first_what_is_shipped_and_how_sure_that_is(written, capsys):
    first, again = written(), written()
    assert first == again
    size = f"{len(first.encode()) / 1e3:,.0f} kB"
    text = visible_text(first)
    assert (
        "int8, the variant that is shipped, reaches ROUGE-L 0.700 (95 % interval 0.612 to 0.788) on 3 test rows" in text
    )
    assert "small-model, trained with lora" in text and "The data are 13 rows of 2 files" in text
    assert (
        "2 are in no split" in text and "Validation loss went from 3.00 to 1.00; the weights of step 4 are kept" in text
    )
    assert "5 of 6 links hold, 1 missed, within chance" in text
    assert f"page.html: {size}, 3 test rows; any browser opens it" in capsys.readouterr().out


@in_browser
def test_it_opens_from_a_file_for_anybody_and_no_name_or_row_becomes_markup(written, open_file, repository):
    written()
    page = open_file(repository / "page.html")
    assert page.title() == "small-model, trained with lora" and page.locator("b").count() == 0
    headings = ["Scores", "Data", "Training", "Size and speed", "Chain of proof", "Test rows", "Of which run this is"]
    assert page.locator("h2").all_inner_texts() == headings
    assert page.locator("figure").count() == 4 and page.locator(".answers tbody tr", has_text="taken").count() == 3
    violations = Axe().run(page).response["violations"]
    assert not [(each["id"], each["nodes"][0]["html"]) for each in violations]
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


def test_what_is_of_another_run_is_not_shown_and_what_is_not_here_is_named(written, repository):
    shutil.rmtree(paths.PREDICTIONS)
    write(paths.TRAIN_REPORT, {**TRAIN, "steps": 9})
    write(paths.DATA_REPORT, {})
    lock = yaml.safe_load(dvc_files.LOCK.read_text())
    lock["stages"]["prepare"]["outs"] = [
        {"path": str(paths.PREPARED), "md5": "other.dir"},
        entry(paths.DATA_REPORT, repository),
    ]
    write(dvc_files.LOCK, yaml.safe_dump(lock))
    write(bench.TABLE, bench.TABLE.read_text().replace(" 2.0e-07 ", " 3.0e-07 "))
    text = visible_text(written())
    assert "Test rows missing: reports/predictions; dvc repro brings that Of which run this is" in text
    assert "not shown reports/data.json, which is of another run than what evaluate made" in text
    assert "not shown reports/train.json, which dvc.lock does not list so" in text
    assert "not shown size against speed; refrain bench writes reports/variants.md" in text
    assert "Why 2?" not in text and "The data are" not in text and "9 steps" not in text


def test_without_a_dvc_lock_what_is_here_is_shown(written):
    dvc_files.LOCK.unlink()
    text = visible_text(written())
    assert "run unknown, for there is no dvc.lock" in text and "Chain of proof" in text and "Why 2?" in text


@pytest.mark.parametrize(("file", "message"), [
    ("dvc.yaml/page.html", "refrain: dvc.yaml/page.html: it cannot be written (file exists); name another"),
    ("reports", "refrain: reports: it cannot be written (is a directory); name another"),
])  # fmt: skip
def test_a_file_that_cannot_be_written_is_one_sentence(repository, capsys, file, message):
    assert main(["report", "--html", file]) == 1
    assert capsys.readouterr().err.startswith(message)


def test_the_page_of_a_commit_is_that_of_its_run_whatever_is_here_now(repository, capsys):
    store = repository / ".dvc/cache/files/md5"
    outputs = dvc_files.output_hashes(dvc_files.current_lock())
    for path in (paths.PARITY, paths.TRAIN_REPORT):
        md5 = outputs[str(path)]
        (store / md5[:2]).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, store / md5[:2] / md5[2:])
    for path in (paths.METRICS, paths.PARITY, paths.DATA_REPORT, dvc_files.LOCK):
        path.unlink()
    assert main(["report", "--html", "pages/old.html", "--rev", "HEAD"]) == 0
    text = visible_text((repository / "pages/old.html").read_text(encoding="utf-8"))
    assert "run commit " in text and "ROUGE-L 0.700" in text and "The data are 13 rows" in text
    assert "Merged model = int8" in text and "Validation loss went" in text and "Why 2?" not in text
    assert "missing reports/predictions, for DVC's cache lacks them, and no remote is set" in text
    assert main(["report", "--rev", "HEAD"]) == 1 and "--html report.html" in capsys.readouterr().err
    assert main(["report", "--html", "page.html", "--rev", "v9"]) == 1
    assert "v9: this repository has no such commit" in capsys.readouterr().err


def test_files_for_llama_are_links_too():
    facts = {"file": "a-Q8_0.gguf", "whole": 0.1, "kl": 0.001, "top1": 0.98, "texts": 1.0, "limit": None,
             "fails": [], "missed_by_chance": []}  # fmt: skip
    thresholds = {"relative_logits": None, "kl": 0.005, "top1": 0.96, "texts": 1.0}
    gguf = {"prompts": 3, "texts": 9, "types": {"q8_0": facts}}
    (link,) = proof_chain.gguf_links(gguf, {"gguf": {"thresholds": {"q8_0": thresholds}}})
    assert (link.title, link.verdict) == ("Merged model = q8_0", "holds")
    assert [round(each.share, 3) for each in link.measures] == [0.2, 0.5, 0]
    assert list(proof_chain.gguf_links({}, {})) == []


def test_before_the_first_run_there_is_nothing_to_write(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--html", "page.html"]) == 1
    assert capsys.readouterr().err.startswith("refrain: reports/metrics.json: there are no results yet; make them with")
    assert not list(tmp_path.iterdir())


def test_flows_have_as_many_rows_as_there_are_and_the_smallest_of_many_files_are_one():
    sources = {f"{i}-file{i // 2}.jsonl": source(train=100 - i, duplicates=i % 2) for i in range(20)}
    flows = data_flow.group_flows(data_report(sources))
    assert len(flows) == data_flow.MOST_SOURCES and list(flows)[-1] == "9 more files"
    assert sum(map(sum, (flow.values() for flow in flows.values()))) == sum(each["rows"] for each in sources.values())


def test_a_training_that_diverged_and_a_variant_of_nan_are_drawn_too(tmp_path):
    write(tmp_path / "plots/metrics/train/loss.tsv", "step\tloss\n1\t3.5\n2\tnan\n3\tinf\n")
    curves = run_reports.read_curves(tmp_path)
    assert curves == {"train": [(1.0, 3.5)]} and "nan" not in loss_curves.draw_curves(curves, svg.WIDE)
    gauge = proof_section.draw_gauge(float("nan"))
    assert "over" in gauge and "nan" not in gauge


def test_a_curve_is_drawn_with_few_points_that_keep_its_range():
    curve = [(step, 5.0 if step == 777 else 1.0) for step in range(5000)]
    bins = loss_curves.bin_curve(curve)
    assert len(bins) <= loss_curves.POINTS and max(most for *_, most in bins) == 5.0
    assert bins[0][1:] == (1.0, 1.0, 1.0) and loss_curves.bin_curve([]) == []


@pytest.mark.parametrize(("facts", "verdict", "reason"), [
    ({}, "holds", ""),
    ({"reached_by_chance": [MISSED]}, "holds, not for certain", "It reaches all thresholds, but with other prompts"),
    ({"missed_by_chance": [MISSED]}, "missed, within chance", "It misses a threshold, but other prompts may well"),
    ({"reached_by_chance": [MISSED], "fails": [MISSED]}, "left out", "It misses a threshold, so it is not shipped"),
])  # fmt: skip
def test_a_link_is_judged_as_the_gate_judged_it(facts, verdict, reason):
    (link,) = proof_chain.variant_links({"int8": {**PROOF["int8"], "missed_by_chance": [], **facts}}, PARAMS)
    assert (
        link.verdict == verdict
        and "".join(link.reasons).startswith(reason)
        and len(link.reasons) == len(facts) - ("fails" in facts)
    )
    assert [(each.name, each.share) for each in link.measures] == [
        ("same likeliest token", 0),
        ("ROUGE-L lost, in points of 100", 2),
    ]


def test_a_limit_gives_way_to_rounding_as_in_the_gate():
    (link,) = proof_chain.merge_links({"whole": 0.004, "rounding": 0.0005, "prompts": 3}, PARAMS)
    assert (link.verdict, link.measures[0].limit, link.measures[0].share) == (
        "holds",
        "\u2264 0.005",
        pytest.approx(0.8),
    )
    (link,) = proof_chain.merge_links({"whole": 0.006, "rounding": 0.0005, "prompts": 3}, PARAMS)
    assert link.verdict == "fails"


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 7.1, [0, 2, 4, 6]), (0, 10.78, [0, 2, 4, 6, 8, 10]), (3, 3, [3]),
    (0, 0.003, [0, 0.001, 0.002, 0.003]),
])  # fmt: skip
def test_ticks_are_round_numbers(low, high, expected):
    assert svg.ticks(low, high) == pytest.approx(expected)


def test_labels_keep_their_distance():
    assert svg.spread([10, 11, 50], 16) == [2.5, 18.5, 42.5]
    assert run_reports.read_speeds(paths.METRICS.parent / "none.md", {}) == ([], "")
