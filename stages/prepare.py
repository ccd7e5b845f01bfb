"""Prepare: every raw row into data/prepared, each in exactly one place."""

from refrain.chat import encoding
from refrain.data import augmentation, corpus, datasheet, split_files
from refrain.data.splitting import splits
from refrain.pipeline import paths, runner, schema


def main(cfg: schema.Config) -> None:
    paths.make_empty(paths.PREPARED)
    paths.DATA_REPORT.parent.mkdir(exist_ok=True)
    reading = corpus.RowPreparer(cfg.data, cfg.seed, paths.BASE, cfg.template.jinja, paths.PREPARED / ".spool")
    with corpus.read_corpus(reading) as (spool, tally):
        placed = splits.assign_splits(spool, cfg.data)
        split_files.write_splits(spool, placed, cfg.data)
        report = split_files.reconcile(spool, placed, tally)

        talk = encoding.load_tokenizer(paths.BASE, cfg.template.jinja)
        measured = datasheet.measure_lengths(spool, placed, talk)
        report["lengths"] = datasheet.length_percentiles(measured)
        datasheet.write_histogram(measured, paths.LENGTHS)
        paths.DATA_SHEET.write_text(datasheet.render_datasheet(report, spool, placed, talk), encoding="utf-8")
        report["variants"] = augmentation.append_variants(spool, placed, reading)
    runner.write_report(paths.DATA_REPORT, report)
    if not report["train"]:
        raise ValueError(f"no row is left to train on; {paths.PREPARED}/quarantine.jsonl and duplicates.jsonl say why")


if __name__ == "__main__":
    runner.run_stage(main)
