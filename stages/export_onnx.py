"""Export: the merged model as ONNX variants, each proven to say what PyTorch says, and the best of them chosen."""

from refrain.chat import encoding, records
from refrain.pipeline import manifest, paths, runner, schema


def main(cfg: schema.Config) -> None:
    from refrain.chat import model_folder
    from refrain.evaluation import gate, parity
    from refrain.export.onnx import exporter, provenance, selection
    from refrain.models.pytorch import language_model, loading
    from refrain.runtime.loading import load_model

    paths.make_empty(paths.ONNX)
    exporter.export_variants(paths.MERGED, paths.ONNX, cfg.export)

    tokenizer, rows = encoding.load_tokenizer(paths.ADAPTER), records.read_held_out_rows(paths.PREPARED)
    merged = language_model.TorchLanguageModel(loading.load(paths.MERGED))
    prompts = parity.parity_prompts(merged, tokenizer, rows, model_folder.read_context_length(paths.MERGED), cfg.export)
    gate.require_same_tokenizer(paths.ADAPTER, paths.MERGED, rows)
    results = {}
    for name in cfg.export.variants:
        gate.require_same_tokenizer(paths.ADAPTER, paths.ONNX / name, rows)
        results[name] = parity.measure_parity(merged, load_model(paths.ONNX / name), prompts, cfg.export)

    runner.write_report(paths.PARITY, provenance.parity_report(prompts, results, cfg.export.variants))
    gate.remove_failing(paths.ONNX, cfg.export.variants, results)
    best = selection.select_best(paths.ONNX, cfg.export)
    manifest.write_manifest(paths.ONNX, provenance.manifest_facts(best))


if __name__ == "__main__":
    runner.run_stage(main)
