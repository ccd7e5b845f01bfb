"""llama.cpp: the same weights as GGUF, quantised by llama.cpp itself."""

from itertools import islice
from pathlib import Path

from benchmarks.contenders import protocol

CONTEXT = 1024


def make(source: Path, out: Path, precision: str) -> int:
    import llama_cpp

    from benchmarks.contenders import gguf_file

    types = {"q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0}
    out.mkdir(parents=True, exist_ok=True)
    full, path = out / "f32.gguf", out / "model.gguf"
    gguf_file.write(source, full)
    if precision == "f32":
        full.rename(path)
    else:
        settings = llama_cpp.llama_model_quantize_default_params()
        settings.ftype = types[precision]
        if llama_cpp.llama_model_quantize(bytes(full), bytes(path), settings):
            raise RuntimeError(f"llama_model_quantize cannot make {precision} of these weights")
        full.unlink()
    return gguf_file.bytes_per_token(path)


def open_model(folder: Path, threads: int) -> protocol.Generate:
    from llama_cpp import Llama

    model = Llama(str(folder / "model.gguf"), n_ctx=CONTEXT, n_threads=threads, n_threads_batch=threads, verbose=False)

    def generate(prompt: list[int], new: int, rows: int) -> protocol.TimedTokens:
        if rows > 1:
            raise ValueError("its Python binding decodes one row")
        model.reset()  # else it keeps what two prompts begin with in common
        return protocol.time_tokens(islice(model.generate(prompt, temp=0.0), new))

    return generate


if __name__ == "__main__":
    protocol.run(make, open_model)
