"""How much memory and time merge and export_onnx take on a real base, beside the size of its weights.

    python -m benchmarks.memory KEEP [--run FOLDER] [--prompts N] [--before TREE]

Of a run there are base, adapter, rows and reports, as train left them; so replies end where the model was taught to end
them. Without one the base has the shape of Qwen2.5-0.5B and random weights, and its adapter learned nothing but differs
from zero. KEEP holds a workspace for each, with what the stages write.
Each stage runs as `dvc repro` runs it, with the settings of conf/; but each variant is proven once, to the end, however
far off it is: what a base makes of few bits would decide how often. Its peak is VmHWM with what is mapped from files,
which the system takes back when memory is short; what it cannot take back is RssAnon. Both are read every 50 ms.
Processor time is that of all threads.
With a work tree of another version each stage runs by its code and conf/ too, just before, on the same workspace;
"x before" is of processor time.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import yaml

from benchmarks.harness import model_shapes, tables
from refrain.chat import model_folder, records
from refrain.pipeline import params, paths, runner

ROOT = Path(__file__).parent.parent
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
COLUMNS = ["step", "seconds", "CPU s", "peak GB", "of it not of files", "allowed GB"]
COLUMNS_BEFORE = ["seconds before", "CPU s before", "peak GB before", "x before"]
PEAKS = {"peak": "VmHWM", "anonymous": "RssAnon"}
TRAINED = {
    "kept": 0,
    "rows": 0,
    "seed": 7,
    "settings": {},
    "steps": 0,
    "supervised_tokens": 0,
    "val_loss": {"before": None, "after": None},
}
Facts = dict[str, float]
SPARE = 2e9  # bytes beside twice the weights
STAGES = ("merge", "export_onnx")
PROVEN_ONCE = ["fallbacks=[]", "thresholds.kl=99", "thresholds.top1=0", "thresholds.rouge=100"]


def main() -> None:
    options = arguments()
    keep = options.keep.resolve()
    workspace = keep / (options.run.resolve().name if options.run else "qwen2.5-0.5b")
    if options.run:
        link_run(options.run.resolve(), workspace)
    else:
        prepare(random_qwen(keep / "qwen2.5-0.5b-base"), workspace, options.prompts)
    weights = sum(file.stat().st_size for file in (workspace / paths.BASE).glob("*.safetensors"))
    allowed = f"{(2 * weights + SPARE) / 1e9:.2f}"
    lines = [[*COLUMNS, *(COLUMNS_BEFORE if options.before else [])]]
    for stage in STAGES:
        trees = [*([options.before.resolve()] if options.before else []), ROOT]
        lines.append(line(stage, [measure(stage, workspace, options.prompts, tree) for tree in trees][::-1], allowed))
        print(tables.align([lines[0], lines[-1]]), file=sys.stderr, flush=True)
    title = f"{workspace.name}: {weights / 1e9:.2f} GB of fp32 weights, {options.prompts} prompts"
    print(f"{title}{describe_before(options.before)}\n\n{tables.to_markdown(lines)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("keep", type=Path)
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="a workspace in which train has ended")
    parser.add_argument("--prompts", type=int, default=128)
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


def describe_before(tree: Path | None) -> str:
    """The commit of the version to compare with."""
    if tree is None:
        return ""
    command = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    return f"; before is {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}"


def measure(stage: str, workspace: Path, prompts: int, tree: Path) -> Facts:
    """Seconds and peak bytes, all and without files, of a stage in a process of its own, by the code of a work tree."""
    settings = params.compose_with_hydra("config", tree / "conf", overrides(prompts))
    (workspace / paths.PARAMS).write_text(yaml.safe_dump(settings), encoding="utf-8")
    command, environment = [sys.executable, "-m", f"stages.{stage}", "--quiet"], {**os.environ, "PYTHONPATH": str(tree)}
    start, used, peaks = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN), dict.fromkeys(PEAKS, 0)
    with subprocess.Popen(command, cwd=workspace, env=environment, stdout=sys.stderr) as process:
        while process.poll() is None:
            peaks = {name: max(peak, memory_of(process.pid, PEAKS[name])) for name, peak in peaks.items()}
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{stage}: it failed in {workspace}")
    seconds, all_used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = all_used.ru_utime + all_used.ru_stime - used.ru_utime - used.ru_stime
    return {"seconds": seconds, "cpu": cpu, **peaks}


def memory_of(process: int, field: str) -> int:
    """Bytes that /proc says of a process; 0 where it has none any more."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    match = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0


def overrides(prompts: int) -> list[str]:
    """What differs from conf/: how many prompts, and variants that none of them refuses."""
    of_variants = [f"export.variants.{name}.{each}" for name in ("int8", "int4") for each in PROVEN_ONCE]
    return [f"merge.prompts={prompts}", f"export.prompts={prompts}", *of_variants]


def link_run(run: Path, workspace: Path) -> None:
    """A workspace as train left that of a run, which stays as it is."""
    for name in (paths.BASE, paths.ADAPTER, paths.PREPARED):
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).unlink(missing_ok=True)
        (workspace / name).symlink_to(run / name)
    for report in (paths.TRAIN_REPORT, paths.DATA_REPORT):
        (workspace / report).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / report, workspace / report)


def prepare(base: Path, workspace: Path, prompts: int) -> None:
    """A workspace as base, prepare and train leave it; only the card reads the reports, which are not its own."""
    import torch

    from refrain.models.pytorch import loading

    for folder in (paths.BASE, paths.ADAPTER, paths.PREPARED):
        (workspace / folder).mkdir(parents=True, exist_ok=True)
    for file in base.iterdir():
        (workspace / paths.BASE / file.name).unlink(missing_ok=True)
        (workspace / paths.BASE / file.name).symlink_to(file)
    (workspace / paths.BASE / "source.json").write_text("{}", encoding="utf-8")
    method = params.to_config(params.compose_with_hydra("config", ROOT / "conf", [])).method
    model = loading.build_trainable(base, method, 7)
    torch.manual_seed(7)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.003)
    loading.save_pretrained(model, workspace / paths.ADAPTER)
    model_folder.copy_tokenizer(base, workspace / paths.ADAPTER, CHATML)
    rows = [conversation(number) for number in range(prompts)]
    for name in ("train", "test"):
        records.write_rows(workspace / paths.PREPARED / f"{name}.jsonl", rows)
    runner.write_report(workspace / paths.TRAIN_REPORT, {**TRAINED, "method": asdict(method)})
    shutil.copyfile(ROOT / paths.DATA_REPORT, workspace / paths.DATA_REPORT)


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
