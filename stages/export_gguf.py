"""Export: the merged model as GGUF files for llama.cpp, each proven there to say what PyTorch says; none by default."""

from refrain.pipeline import exporter_record, libraries, paths, runner
from refrain.pipeline.manifest import write_manifest
from refrain.pipeline.schema import Config

NO_FILES = "No GGUF file was asked for; `dvc exp run -S gguf=q8_0` makes one.\n"


def main(cfg: Config) -> None:
    from refrain.pipeline import front_matter  # reads YAML

    paths.make_empty(paths.GGUF)
    if not cfg.gguf.types:
        (paths.GGUF / front_matter.CARD).write_text(NO_FILES, encoding="utf-8")  # DVC warns of an empty folder
        runner.write_report(paths.GGUF_REPORT, {})
        return
    with libraries.importing():  # torch and the extra `gguf`, after the configuration was checked
        from refrain.chat.encoding import load_tokenizer
        from refrain.chat.records import read_held_out_rows
        from refrain.exporters.architectures import gguf_choice
        from refrain.exporters.gguf import exporter, provenance, questions
        from refrain.models.pytorch.language_model import TorchLanguageModel
        from refrain.models.pytorch.loading import load_pretrained

    gguf_choice.require_writable(paths.MERGED, paths.MERGED)
    tokenizer, rows = load_tokenizer(paths.MERGED), read_held_out_rows(paths.PREPARED)
    context = exporter.read_context_length(paths.MERGED)
    asked = questions.ask_merged(TorchLanguageModel(load_pretrained(paths.MERGED)), tokenizer, rows, context, cfg.gguf)
    names = provenance.name_files(cfg.gguf.types)
    lineage = provenance.describe_lineage()
    files = exporter.export_proven_files(paths.MERGED, names, cfg.gguf, asked, lineage)
    runner.write_report(paths.GGUF_REPORT, provenance.proof_report(asked, files))
    left = exporter.remove_failing(files, cfg.gguf)
    exporter.write_modelfile(paths.GGUF, left, tokenizer, asked, context)
    write_manifest(paths.GGUF, provenance.manifest_facts())


if __name__ == "__main__":
    runner.run_stage(main, exporter_record.require_exportable)
