"""Prepare: every raw row into data/prepared, each in exactly one place."""

import json
import shutil

from refrain import config, corpus, launch, paths, records, splits


def main(cfg: config.Config) -> None:
    shutil.rmtree(paths.PREPARED, ignore_errors=True)
    paths.PREPARED.mkdir(parents=True)
    items, quarantine, sizes = corpus.read(cfg.data.sources)
    kept, duplicates = splits.place(items, cfg.data, cfg.seed)
    report = corpus.report(sizes, kept, duplicates, quarantine)
    records.write(paths.PREPARED / "train.jsonl", splits.rows(kept, "train"))
    records.write(paths.PREPARED / "val.jsonl", splits.rows(kept, "val"))
    records.write(paths.PREPARED / "test.jsonl", splits.rows(kept, "test"))
    records.write(paths.PREPARED / "quarantine.jsonl", quarantine)
    records.write(paths.PREPARED / "duplicates.jsonl", duplicates)
    paths.DATA_REPORT.parent.mkdir(exist_ok=True)
    paths.DATA_REPORT.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
    if not report["train"]:
        raise ValueError(f"no row is left to train on; {paths.PREPARED}/quarantine.jsonl and duplicates.jsonl say why")


if __name__ == "__main__":
    launch.run(main)
