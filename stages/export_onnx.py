"""Export: the merged model as ONNX variants, each proven to say what PyTorch says, with a manifest of every byte."""

from refrain import chat, config, launch, manifest, paths, provenance


def main(cfg: config.Config) -> None:
    from refrain import export, models, parity, runtime  # load torch, after the configuration was checked

    talk = chat.load(paths.MERGED)
    prompts = parity.prompts(talk, paths.PREPARED, cfg.export.prompts)
    merged = models.Speaker(models.load(paths.MERGED))
    paths.empty(paths.ONNX)
    proofs = {}
    for name, variant in sorted(cfg.export.variants.items()):  # fp32 sorts first: the others are made from it
        export.write(paths.MERGED, paths.ONNX, name, variant, cfg.export.opset)
        proofs[name] = parity.compare(merged, runtime.Session(paths.ONNX / name), prompts, cfg.export.steps)
    parity.require(cfg.export.variants, proofs)
    manifest.write(paths.ONNX, provenance.facts(proofs))


if __name__ == "__main__":
    launch.run(main)
