"""Evaluate: one set of metrics for the base, the merged model and every ONNX variant, on the same test rows."""

import json

from refrain import chat, config, launch, paths, records


def main(cfg: config.Config) -> None:
    from refrain import evaluation, lineup, session, tracking  # load torch, after the configuration was checked

    talk = chat.load(paths.MERGED)
    rows = records.read(paths.PREPARED / "test.jsonl")
    rows = evaluation.fitting(talk, rows, session.context(paths.MERGED), cfg.evaluate.max_new_tokens)
    paths.empty(paths.PREDICTIONS)
    results = {}
    for name, lm in lineup.models():
        results[name], predictions = evaluation.score(
            lm, talk, rows[: cfg.evaluate.max_rows], cfg.evaluate.max_new_tokens, cfg.evaluate.batch_size
        )
        records.write(paths.PREDICTIONS / f"{name}.jsonl", predictions)

    tracking.report(paths.METRICS, results)
    tracking.scores(paths.SCORES, results)
    trained = json.loads(paths.TRAIN_REPORT.read_text())
    tracking.report(paths.SUMMARY, tracking.summary(results, trained, paths.ONNX))


if __name__ == "__main__":
    launch.run(main)
