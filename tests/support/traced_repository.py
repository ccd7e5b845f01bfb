"""A folder with all that the pipeline leaves of a tiny LoRA fine-tune, so that answers of it can be traced."""

import json
import shutil

from refrain.chat import records
from refrain.pipeline import manifest, paths

LOCK = {"near_duplicate_threshold": 0.8, "ngram_size": 3}


def build(folder, base, adapter, onnx, rows):
    """Base, adapter, rows and a graph with the manifest that names them, in `folder`."""
    for source, place in ((base, paths.BASE), (adapter, paths.ADAPTER), (onnx / "fp32", paths.ONNX / "best")):
        shutil.copytree(source, folder / place)
    for name, split in (("train", rows[:14]), ("val", rows[14:15]), ("test", rows[15:])):
        (folder / paths.PREPARED).mkdir(parents=True, exist_ok=True)
        records.write_rows(folder / paths.PREPARED / f"{name}.jsonl", split)
    (folder / "data/raw").mkdir()
    (folder / "data/raw/said.jsonl").touch()
    (folder / paths.LINKED_DATA).mkdir()
    (folder / paths.LINKED_DATA / "0-said.jsonl").symlink_to("../raw/said.jsonl")
    places = (paths.BASE, paths.PREPARED, paths.ADAPTER)
    made_of = {str(place): manifest.dvc_md5(folder / place) for place in places} | {"models/merged": "0.dir"}
    params = {"method": {"name": "lora", "preference": None, "init_adapter": None}, "seed": 7}
    stages = {"train": params, "prepare": {"data": {"leaks": LOCK}}}
    lock = {name: {"params": {"params.yaml": values}} for name, values in stages.items()}
    lock["merge"] = {"outs": [{"path": "models/merged", "md5": made_of["models/merged"]}]}
    (folder / "dvc.lock").write_text(json.dumps({"stages": lock}))
    data = manifest.sha256_by_file(folder / paths.PREPARED)
    manifest.write_manifest(folder / paths.ONNX, {"best": "fp32", "made_of": made_of, "data": data})
    return folder
