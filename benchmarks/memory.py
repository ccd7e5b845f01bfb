"""How much memory and time the merge, each export and each proof of a model take, beside the size of its weights.

    python -m benchmarks.memory KEEP [--base FOLDER] [--prompts N] [--steps NAME ...] [--before TREE]

Without a base it is one of the shape of Qwen2.5-0.5B with random weights. KEEP holds a workspace for each: the base, an
adapter on all its linear layers that learned nothing but differs from zero, held-out rows, and what the steps write.
Each step is a process of its own; its peak is VmHWM with what is mapped from files, which the system takes back when
memory is short. What it cannot take back, RssAnon, is read every 50 ms. Processor time is that of all threads.
With a work tree of another version each step runs there too, just before, on the same workspace; "x before" is of
processor time.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from benchmarks.harness import model_shapes, tables
from refrain.chat import encoding, model_folder, records
from refrain.pipeline import params, paths
from refrain.pipeline.schema import Config

ROOT = Path(__file__).parent.parent
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
COLUMNS = ["step", "seconds", "CPU s", "peak GB", "of it not of files", "allowed GB"]
COLUMNS_BEFORE = ["seconds before", "CPU s before", "peak GB before", "x before"]
Facts = dict[str, float]
SPARE = 2e9  # bytes beside twice the weights
VARIANTS = ("fp32", "int8", "int4")
STEPS = ("merge", *(f"{step} {name}" for name in VARIANTS for step in ("export", "proof")))


def main() -> None:
    options = arguments()
    base = options.base or random_qwen(options.keep.resolve() / "qwen2.5-0.5b-base")
    workspace = options.keep.resolve() / (options.base.resolve().name if options.base else "qwen2.5-0.5b")
    if options.step:
        os.chdir(workspace)
        run_step(options.step, options.prompts)
        return
    if not (workspace / "done").exists():
        prepare(base.resolve(), workspace, options.prompts)
    weights = sum(file.stat().st_size for file in (workspace / paths.BASE).glob("*.safetensors"))
    allowed = f"{(2 * weights + SPARE) / 1e9:.2f}"
    trees = [ROOT, *([options.before.resolve()] if options.before else [])]
    found: dict[str, list[Facts]] = {}  # of each step, in each tree
    for step in options.steps or STEPS:
        found[step] = [measure(step, options, tree) for tree in reversed(trees)][::-1]
        print(tables.align([COLUMNS, line(step, found[step][:1], allowed)]), file=sys.stderr, flush=True)
    summed = [list(all_facts) for all_facts in zip(*(found[step] for step in found if step != "merge"), strict=True)]
    found |= {"export and proof": [add_up(all_facts) for all_facts in summed]} if summed else {}
    lines = [[*COLUMNS, *(COLUMNS_BEFORE if options.before else [])]]
    lines += [line(step, facts, allowed) for step, facts in found.items()]
    title = f"{workspace.name}: {weights / 1e9:.2f} GB of fp32 weights, {options.prompts} prompts"
    print(f"{title}{describe_before(options.before)}\n\n{tables.to_markdown(lines)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("keep", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--steps", nargs="+", choices=STEPS, metavar="NAME")
    parser.add_argument("--step", help=argparse.SUPPRESS)  # what a process of its own does
    parser.add_argument("--before", type=Path, metavar="TREE", help="a work tree of the version to compare with")
    return parser.parse_args()


def line(step: str, found: list[Facts], allowed: str) -> list[str]:
    """Seconds of the clock and of processors, and peaks in GB, all and without files; those before without the last."""
    cells = []
    for facts in found:
        cells.append([f"{facts[name]:.0f}" for name in ("seconds", "cpu")])
        cells[-1] += [f"{facts[name] / 1e9:.2f}" for name in ("peak", "anonymous")]
    before = [*cells[1][:3], f"{found[0]['cpu'] / found[1]['cpu']:.2f}"] if len(found) > 1 else []
    return [step, *cells[0], allowed, *before]


def add_up(found: list[Facts]) -> Facts:
    """The time of all steps, and the largest peak."""
    both: dict[str, Callable[[Iterable[float]], float]] = {"seconds": sum, "cpu": sum, "peak": max, "anonymous": max}
    return {name: kind(facts[name] for facts in found) for name, kind in both.items()}


def describe_before(tree: Path | None) -> str:
    """The commit of the version to compare with."""
    if tree is None:
        return ""
    command = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    return f"; before is {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}"


def measure(step: str, options: argparse.Namespace, tree: Path) -> Facts:
    """Seconds and peak bytes, all and without files, of a step in a process of its own, by the code of a work tree."""
    keep, prompts = str(options.keep.resolve()), str(options.prompts)
    command = [sys.executable, "-m", "benchmarks.memory", keep, "--prompts", prompts, "--step", step]
    command += ["--base", str(options.base.resolve())] if options.base else []
    start, used, anonymous = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN), 0
    with subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            anonymous = max(anonymous, memory_of(process.pid, "RssAnon"))
            time.sleep(0.05)
        output = str(process.stdout and process.stdout.read())
    if process.returncode:
        raise SystemExit(f"{step}: it failed in {options.keep}")
    seconds, all_used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = all_used.ru_utime + all_used.ru_stime - used.ru_utime - used.ru_stime
    return {"seconds": seconds, "cpu": cpu, "peak": float(output.split()[-1]), "anonymous": anonymous}


def memory_of(process: int | str, field: str) -> int:
    """Bytes that /proc says of a process; 0 where it has none any more."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    match = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0


def run_step(step: str, prompts: int) -> None:
    """One step in the workspace that is the current folder; prints the peak of this process in bytes."""
    from refrain.exporters.onnx import exporter
    from stages import merge

    cfg, name = configuration(prompts), step.rpartition(" ")[2]
    if step == "merge":
        merge.main(cfg)
    elif step.startswith("export"):
        kind = exporter.choose_graph(paths.MERGED, cfg.export.graph)
        out, weights = paths.ONNX / name, cfg.export.variants[name].weights
        shutil.rmtree(out, ignore_errors=True)
        exporter.export_variant(paths.MERGED, out, weights, kind, cfg.export.opset)
    else:
        prove(name, cfg)
    print(memory_of("self", "VmHWM"))


def prove(name: str, cfg: Config) -> None:
    """What the export stage does to prove one variant, the reference's own replies included."""
    from refrain.evaluation import divergence, parity, verdict
    from refrain.models.pytorch.language_model import TorchLanguageModel
    from refrain.models.pytorch.loading import load_pretrained
    from refrain.runtime.loading import load_model

    merged = TorchLanguageModel(load_pretrained(paths.MERGED))
    rows, tokenizer = records.read_held_out_rows(paths.PREPARED), encoding.load_tokenizer(paths.ADAPTER)
    start = time.monotonic()
    context, load_draft = model_folder.read_context_length(paths.MERGED), partial(load_model, paths.ONNX / "fp32")
    prompts = parity.parity_prompts(merged, tokenizer, rows, context, cfg.export, load_draft)
    del merged
    middle = time.monotonic()
    variant = load_model(paths.ONNX / name)
    merged = TorchLanguageModel(load_pretrained(paths.MERGED))
    result = parity.measure_parity(merged, variant, prompts, cfg.export)
    times = f"replies {middle - start:.0f} s, comparison {time.monotonic() - middle:.0f} s"
    fails = verdict.judge_variant(name, cfg.export.variants[name].thresholds, result).fails
    print(times, json.dumps(divergence.rounded_facts(result)), *fails, file=sys.stderr)


def configuration(prompts: int) -> Config:
    """What conf/ says."""
    overrides = [f"merge.prompts={prompts}", f"export.prompts={prompts}"]
    return params.to_config(params.compose_with_hydra("config", ROOT / "conf", overrides))


def prepare(base: Path, workspace: Path, prompts: int) -> None:
    """A workspace as base, prepare and train leave it."""
    import torch

    from refrain.models.pytorch import loading

    for folder in (paths.BASE, paths.ADAPTER, paths.PREPARED):
        (workspace / folder).mkdir(parents=True, exist_ok=True)
    for file in base.iterdir():
        (workspace / paths.BASE / file.name).unlink(missing_ok=True)
        (workspace / paths.BASE / file.name).symlink_to(file)
    (workspace / paths.BASE / "source.json").write_text("{}", encoding="utf-8")
    model = loading.build_trainable(base, configuration(prompts).method, 7)
    torch.manual_seed(7)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.003)
    loading.save_pretrained(model, workspace / paths.ADAPTER)
    model_folder.copy_tokenizer(base, workspace / paths.ADAPTER, CHATML)
    rows = [conversation(number) for number in range(prompts)]
    records.write_rows(workspace / paths.PREPARED / "test.jsonl", rows)
    (workspace / "done").touch()


def conversation(number: int) -> records.Row:
    """A question of some tens of tokens and its answer."""
    question = f"What is {number} and {number * 7} of them, {'said in other words, ' * (number % 9)}please?"
    answer = f"It is {number * 8}, as was to be shown."
    messages: list[records.Message] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"id": str(number), "messages": messages}


def random_qwen(out: Path) -> Path:
    """The shape of Qwen2.5-0.5B with random weights, and a tokenizer of bytes."""
    if not (out / "tokenizer.json").is_file():
        import torch
        from transformers import AutoModelForCausalLM, Qwen2Config

        torch.manual_seed(0)
        shape = Qwen2Config(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
                            num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=32768,
                            rope_theta=1e6, rms_norm_eps=1e-6, tie_word_embeddings=True,
                            bos_token_id=None, eos_token_id=None)  # fmt: skip
        AutoModelForCausalLM.from_config(shape).save_pretrained(out)
        model_shapes.byte_tokenizer().save_pretrained(out)
    return out


if __name__ == "__main__":
    main()
