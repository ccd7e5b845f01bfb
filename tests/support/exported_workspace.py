"""A workspace in which merge, export_onnx and evaluate have run on tiny real weights, as in a folder of its own."""

import copy
import json
import shutil
from contextlib import chdir

import card_reports
import pipeline_repository
from places import ROOT

from refrain.chat import records
from refrain.pipeline import manifest, paths, schema
from stages import evaluate, export_onnx, merge

LICENSE = "A licence of nobody's own.\n"


def export(folder, base, adapter, rows, settings, source='{"made": "by conftest.py"}', card="", **reports):
    """The folder, after the stages; `card` is README.md of the base, `reports` are those of prepare and train."""
    with chdir(folder):
        shutil.copytree(base, paths.BASE)
        (paths.BASE / "source.json").write_text(source)
        (paths.BASE / "LICENSE.txt").write_text(LICENSE)
        if card:
            (paths.BASE / "README.md").write_text(card)
        shutil.copytree(adapter, paths.ADAPTER)
        card_reports.write(**reports)
        paths.PREPARED.mkdir(parents=True)
        for split in ("train", "val", "test"):
            records.write_rows(paths.PREPARED / f"{split}.jsonl", rows if split == "test" else [])
        cfg = schema.Config(
            merge=schema.MergeConfig(prompts=8, relative_logits=1e-3),
            export=copy.deepcopy(settings),
            evaluate=schema.EvaluateConfig(max_rows=8, max_new_tokens=8, batch_size=4),
        )
        for stage in (merge, export_onnx, evaluate):
            stage.main(cfg)
    return folder


def commit(folder):
    """The workspace as a repository whose last commit recorded all of it."""
    for name in ("dvc.yaml", "conf/config.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    (folder / ".gitignore").write_text("/models\n/data\n")
    with chdir(folder):
        outs = [{"path": str(path), "md5": manifest.dvc_md5(path)} for path in (paths.MERGED, paths.ONNX)]
    (folder / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"export_onnx": {"outs": outs}}}))
    pipeline_repository.init_git(folder)
    pipeline_repository.commit(folder)
    return folder
