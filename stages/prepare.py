"""Prepare: every raw row into data/prepared, each in exactly one place."""

from refrain.pipeline import exporter_record, paths, runner
from refrain.pipeline.schema import Config


def main(cfg: Config) -> None:
    # these load after the configuration was checked
    from refrain.chat import encoding
    from refrain.data import augmentation, corpus, data_cards, datasheet, sources, split_files, training_rows
    from refrain.data.row_preparer import RowPreparer
    from refrain.data.splitting import splits
    from refrain.data.token_counts import forget_tokenizers

    tokenizer = encoding.load_tokenizer(paths.BASE, cfg.template.jinja)
    encoding.require_usable_template(tokenizer)
    paths.make_empty(paths.PREPARED)
    paths.DATA_REPORT.parent.mkdir(exist_ok=True)
    forget_tokenizers()
    preparer = RowPreparer(
        cfg.data, cfg.seed, paths.BASE, cfg.template.jinja, paths.LINKED_DATA, paths.PREPARED / ".rows"
    )
    with corpus.read_corpus(preparer) as (store, counts):
        preference = cfg.method.preference
        learns_bad_replies = preference is not None and preference.loss == "kto"
        assignment = splits.assign_splits(store, cfg.data, learns_bad_replies)
        split_files.write_splits(store, assignment, cfg.data)
        report = split_files.reconcile(store, assignment, counts)

        tokenizer = datasheet.tokenizer_of_training(store, assignment, tokenizer)
        lengths = datasheet.measure_lengths(store, assignment, preparer, tokenizer)
        report["lengths"] = datasheet.length_percentiles(lengths)
        datasheet.write_histogram(lengths, paths.LENGTHS)
        paths.DATA_SHEET.write_text(datasheet.render_datasheet(report, store, assignment, tokenizer), encoding="utf-8")
        report["variants"] = augmentation.append_variants(store, assignment, preparer)
    report |= sources.record_commits(paths.LINKED_DATA, paths.PREPARED)
    report["cards"] = data_cards.read_cards(paths.LINKED_DATA)
    runner.write_report(paths.DATA_REPORT, report)
    training_rows.require_training_rows(report, counts.files, cfg.data)


if __name__ == "__main__":
    runner.run_stage(main, exporter_record.require_exportable)
