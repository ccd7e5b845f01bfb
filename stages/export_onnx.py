"""Export: the merged model as ONNX variants, each proven to say what PyTorch says, and the best of them chosen."""

from pathlib import Path

from refrain.pipeline import libraries, paths, runner
from refrain.pipeline.manifest import write_manifest
from refrain.pipeline.schema import Config


def main(cfg: Config) -> None:
    with libraries.importing():  # torch, after the configuration was checked
        from refrain.chat.encoding import load_tokenizer
        from refrain.chat.model_folder import read_context_length
        from refrain.chat.records import read_held_out_rows
        from refrain.evaluation import gate, parity
        from refrain.evaluation.model_card import card
        from refrain.exporters.onnx import exporter, fallbacks, provenance, selection
        from refrain.models.pytorch.language_model import TorchLanguageModel
        from refrain.models.pytorch.loading import load_pretrained
        from refrain.runtime.loading import load_model

    paths.make_empty(paths.ONNX)
    tokenizer, rows = load_tokenizer(paths.ADAPTER), read_held_out_rows(paths.PREPARED)
    gate.require_same_tokenizer(paths.ADAPTER, paths.MERGED, rows)

    def load_merged() -> TorchLanguageModel:
        """Anew for each proof: while a variant is written it would only take memory."""
        return TorchLanguageModel(load_pretrained(paths.MERGED))

    draft, context = exporter.export_draft(paths.MERGED, paths.ONNX, cfg.export), read_context_length(paths.MERGED)
    prompts = parity.parity_prompts(load_merged(), tokenizer, rows, context, cfg.export, draft)

    def compare(folder: Path, give_up: fallbacks.GiveUp | None) -> parity.ParityResult:
        """The variant is opened first: while it is packed it is twice in memory."""
        variant = load_model(folder)
        return parity.measure_parity(load_merged(), variant, prompts, cfg.export, give_up)

    attempts = fallbacks.export_proven_variants(paths.MERGED, paths.ONNX, cfg.export, prompts, compare, paths.PREPARED)
    runner.write_report(paths.PARITY, provenance.parity_report(prompts, attempts))
    fails = {name: tried[-1].fails for name, tried in attempts.items()}
    for name in gate.remove_failing(paths.ONNX, cfg.export.variants, fails):
        gate.require_same_tokenizer(paths.MERGED, paths.ONNX / name, rows)
    best = selection.select_best(paths.ONNX, cfg.export, [name for name, tried in attempts.items() if tried[-1].missed])
    facts = provenance.manifest_facts(best)
    card.write_card(paths.ONNX, facts, cfg.export.variants)
    write_manifest(paths.ONNX, facts)


if __name__ == "__main__":
    runner.run_stage(main)
