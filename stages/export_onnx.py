"""Export: the merged model as ONNX variants, each proven to say what PyTorch says, and the best of them chosen."""

from refrain import chat, config, launch, manifest, paths, records


def main(cfg: config.Config) -> None:
    from refrain import choice, export, gate, models, parity, provenance, runtime, session, tracking  # load torch

    paths.empty(paths.ONNX)
    export.write(paths.MERGED, paths.ONNX, cfg.export)

    talk, rows = chat.load(paths.ADAPTER), records.held_out(paths.PREPARED)
    merged = models.Speaker(models.load(paths.MERGED))
    asked = parity.questions(merged, talk, rows, session.context(paths.MERGED), cfg.export)
    gate.same_speech(paths.ADAPTER, paths.MERGED, rows)
    proofs = {}
    for name in cfg.export.variants:
        gate.same_speech(paths.ADAPTER, paths.ONNX / name, rows)
        proofs[name] = parity.compare(merged, runtime.load(paths.ONNX / name), asked, cfg.export)

    tracking.report(paths.PARITY, provenance.chain(asked, proofs, cfg.export.variants))
    gate.strike(paths.ONNX, cfg.export.variants, proofs)
    best = choice.choose(paths.ONNX, cfg.export)
    manifest.write(paths.ONNX, provenance.facts(best))


if __name__ == "__main__":
    launch.run(main)
