"""Merge: fold the adapter into the weights, and refuse a merge that changes what the model says."""

from refrain.chat import encoding, records
from refrain.pipeline import paths, runner, schema


def main(cfg: schema.Config) -> None:
    from refrain.chat import model_folder
    from refrain.evaluation import divergence
    from refrain.models.pytorch import language_model, loading

    tokenizer = encoding.load_tokenizer(paths.ADAPTER)
    paths.make_empty(paths.MERGED)
    loading.save_for_serving(
        loading.merge_adapter(loading.load_finetuned(paths.BASE, paths.ADAPTER)), tokenizer.stop_ids, paths.MERGED
    )
    model_folder.copy_tokenizer(paths.ADAPTER, paths.MERGED, tokenizer.template)

    rows = records.read_held_out_rows(paths.PREPARED)[: cfg.merge.prompts]
    prompts = [encoding.encode_prompt(tokenizer, row["messages"][:-1]) for row in rows]
    adapted = language_model.TorchLanguageModel(loading.load_finetuned(paths.BASE, paths.ADAPTER))
    fitting = [ids for ids in prompts if len(ids) <= model_folder.read_context_length(paths.MERGED)]
    difference = divergence.measure_divergence(
        adapted, language_model.TorchLanguageModel(loading.load(paths.MERGED)), fitting
    )
    runner.write_report(paths.MERGE_REPORT, {"prompts": len(fitting), **divergence.rounded_facts(difference)})
    divergence.require_equal(difference, cfg.merge.tolerance)


if __name__ == "__main__":
    runner.run_stage(main)
