"""Merge: fold the adapter into the weights, and refuse a merge that changes what the model says."""

from refrain.pipeline import libraries, paths, runner
from refrain.pipeline.schema import Config


def main(cfg: Config) -> None:
    with libraries.importing():  # torch, after the configuration was checked
        from refrain.chat.encoding import encode_last_prompt, load_tokenizer
        from refrain.chat.model_folder import copy_tokenizer, read_context_length
        from refrain.chat.records import read_held_out_rows
        from refrain.evaluation import divergence
        from refrain.models.pytorch import loading, merge_faults
        from refrain.models.pytorch.language_model import TorchLanguageModel

    tokenizer = load_tokenizer(paths.ADAPTER)
    paths.make_empty(paths.MERGED)
    loading.save_for_serving(
        loading.merge_adapter(loading.load_finetuned(paths.BASE, paths.ADAPTER)), tokenizer.stop_ids, paths.MERGED
    )
    copy_tokenizer(paths.ADAPTER, paths.MERGED, tokenizer.template)

    rows = read_held_out_rows(paths.PREPARED)[: cfg.merge.prompts]
    prompts = [encode_last_prompt(tokenizer, row) for row in rows]
    prompts = [ids for ids in prompts if len(ids) <= read_context_length(paths.MERGED)]
    adapted = TorchLanguageModel(loading.load_finetuned(paths.BASE, paths.ADAPTER))
    rounding = divergence.measure_rounding(adapted, prompts).whole
    saved = TorchLanguageModel(loading.load_pretrained(paths.MERGED))
    distance = divergence.measure_divergence(adapted, saved, prompts)
    facts = {**divergence.rounded_facts(distance), "rounding": divergence.rounded_fact(rounding)}
    threshold = {"relative_logits": cfg.merge.relative_logits}
    runner.write_report(paths.MERGE_REPORT, {"prompts": len(prompts), **facts, "thresholds": threshold})
    faults = merge_faults.find_faults(adapted.model, saved.model, paths.MERGED)
    divergence.require_equal(distance, rounding, cfg.merge.relative_logits, faults)


if __name__ == "__main__":
    runner.run_stage(main)
