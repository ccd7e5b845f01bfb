"""Evaluate: one set of metrics for the base, the merged model and every ONNX variant, on the same held-out rows."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from refrain.pipeline import libraries, paths, runner, schema

if TYPE_CHECKING:
    from refrain.runtime.language_model import LanguageModel


def main(cfg: schema.Config) -> None:
    with libraries.importing():  # after the configuration was checked
        from refrain.chat import model_folder, records
        from refrain.chat.encoding import load_tokenizer
        from refrain.evaluation import scoring, summary
        from refrain.evaluation.model_card import card

    tokenizer, length = load_tokenizer(paths.MERGED), cfg.evaluate.max_new_tokens
    context, rows = model_folder.read_context_length(paths.MERGED), records.read_held_out_rows(paths.PREPARED)
    rows = scoring.rows_that_fit(tokenizer, rows, context, length)[: cfg.evaluate.max_rows]
    paths.make_empty(paths.PREDICTIONS)
    results = {}
    for name, model in load_candidates():
        results[name], predictions = scoring.score_model(name, model, tokenizer, rows, length, cfg.evaluate.batch_size)
        records.write_rows(paths.PREDICTIONS / f"{name}.jsonl", predictions)
    runner.write_report(paths.METRICS, results)
    summary.write_scores(paths.SCORES, results)
    trained = json.loads(paths.TRAIN_REPORT.read_text())
    runner.write_report(paths.SUMMARY, summary.summarise(results, trained, paths.ONNX))
    card.write_scored_card(paths.ONNX, paths.METRICS, paths.MODEL_CARD)


def load_candidates() -> Iterator[tuple[str, "LanguageModel"]]:
    """base and merged in PyTorch, then every variant in models/onnx, one in memory at a time."""
    with libraries.importing():
        from refrain.evaluation import scores, summary
        from refrain.models.pytorch.language_model import TorchLanguageModel
        from refrain.models.pytorch.loading import load_pretrained
        from refrain.runtime.loading import load_model

    yield "base", TorchLanguageModel(load_pretrained(paths.BASE))
    yield "merged", TorchLanguageModel(load_pretrained(paths.MERGED))
    for name in summary.variant_names(paths.ONNX):
        yield scores.model_name(name), load_model(paths.ONNX / name)


if __name__ == "__main__":
    runner.run_stage(main)
