"""Evaluate: one set of metrics for the base, the merged model and every ONNX variant, on the same test rows."""

import json
from collections.abc import Iterator

from refrain.chat import encoding, model_folder, records
from refrain.pipeline import paths, runner, schema
from refrain.runtime.language_model import LanguageModel


def main(cfg: schema.Config) -> None:
    from refrain.evaluation import scoring, summary

    tokenizer = encoding.load_tokenizer(paths.MERGED)
    rows = records.read_rows(paths.PREPARED / "test.jsonl")
    rows = scoring.rows_that_fit(
        tokenizer, rows, model_folder.read_context_length(paths.MERGED), cfg.evaluate.max_new_tokens
    )
    paths.make_empty(paths.PREDICTIONS)
    results = {}
    for name, lm in candidates():
        results[name], predictions = scoring.score_model(
            lm, tokenizer, rows[: cfg.evaluate.max_rows], cfg.evaluate.max_new_tokens, cfg.evaluate.batch_size
        )
        records.write_rows(paths.PREDICTIONS / f"{name}.jsonl", predictions)

    runner.write_report(paths.METRICS, results)
    summary.write_scores(paths.SCORES, results)
    trained = json.loads(paths.TRAIN_REPORT.read_text())
    runner.write_report(paths.SUMMARY, summary.summarise(results, trained, paths.ONNX))


def candidates() -> Iterator[tuple[str, LanguageModel]]:
    """base and merged in PyTorch, then every variant in models/onnx, one in memory at a time."""
    from refrain.evaluation import summary
    from refrain.models.pytorch import language_model, loading  # load torch, after the configuration was checked
    from refrain.runtime.loading import load_model

    yield "base", language_model.TorchLanguageModel(loading.load(paths.BASE))
    yield "merged", language_model.TorchLanguageModel(loading.load(paths.MERGED))
    for name in summary.variant_names(paths.ONNX):
        yield f"onnx-{name}", load_model(paths.ONNX / name)


if __name__ == "__main__":
    runner.run_stage(main)
