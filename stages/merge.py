"""Merge: fold the adapter into the weights, and refuse a merge that changes what the model says."""

from refrain.chat import encoding as chat
from refrain.chat import records
from refrain.pipeline import paths, runner
from refrain.pipeline import schema as config


def main(cfg: config.Config) -> None:
    from refrain.chat import model_folder
    from refrain.evaluation import divergence as likeness
    from refrain.models.pytorch import language_model
    from refrain.models.pytorch import loading as models

    talk = chat.load(paths.ADAPTER)
    paths.make_empty(paths.MERGED)
    models.save_for_serving(
        models.merge_adapter(models.load_finetuned(paths.BASE, paths.ADAPTER)), talk.stop_ids, paths.MERGED
    )
    model_folder.copy_tokenizer(paths.ADAPTER, paths.MERGED, talk.template)

    rows = records.held_out(paths.PREPARED)[: cfg.merge.prompts]
    prompts = [chat.encode_prompt(talk, row["messages"][:-1]) for row in rows]
    adapted = language_model.TorchLanguageModel(models.load_finetuned(paths.BASE, paths.ADAPTER))
    seen = [ids for ids in prompts if len(ids) <= model_folder.context_length(paths.MERGED)]
    found = likeness.measure_divergence(adapted, language_model.TorchLanguageModel(models.load(paths.MERGED)), seen)
    runner.write_report(paths.MERGE_REPORT, {"prompts": len(seen), **likeness.rounded_facts(found)})
    likeness.require_equal(found, cfg.merge.tolerance)


if __name__ == "__main__":
    runner.run(main)
