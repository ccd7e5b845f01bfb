"""optimum: its export and its ORTModelForCausalLM, with inputs and outputs bound."""

from pathlib import Path

from benchmarks.contenders import protocol


def make(source: Path, out: Path, precision: str) -> int:
    from optimum.exporters.onnx import main_export

    from benchmarks.contenders import onnx_weights

    assert precision == "fp32"
    main_export(str(source), out, task="text-generation-with-past", library_name="transformers", do_validation=False)
    return onnx_weights.bytes_per_token(out / "model.onnx")


def open_model(folder: Path, threads: int) -> protocol.Generate:
    import onnxruntime
    from optimum.onnxruntime import ORTModelForCausalLM

    from benchmarks.contenders import generation

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return generation.generate_with(
        ORTModelForCausalLM.from_pretrained(folder, use_io_binding=True, session_options=options)
    )


if __name__ == "__main__":
    protocol.run(make, open_model)
