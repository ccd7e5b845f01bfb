"""Whether the tensors of a folder are those that its config.json promises: names and shapes, from the headers."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations

from refrain.models.pretrained.preflight.headers import TensorHeader
from refrain.models.pretrained.preflight.loading_report import LoadingReport

FLOATS = ("F32", "F16", "BF16", "F64")
ADAPTER = re.compile(r"\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|base_layer|modules_to_save)\b")
FEW_BITS = re.compile(
    r"\.(qweight|qzeros|scales|g_idx|SCB|weight_scale(_inv)?|input_scale|weight\.(absmax|quant_map|quant_state\..*))$"
)
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.")
BUFFERS = re.compile(r"\.(rotary_emb\.inv_freq|attn\.bias|attn\.masked_bias|attention\.bias|attention\.masked_bias)$")


def find_obstacles(report: LoadingReport, headers: dict[str, TensorHeader]) -> Iterator[str]:
    """One sentence for each kind of fault, with the first tensor that has it."""
    unexpected = [name for name in report.unexpected if not BUFFERS.search(name)]
    wrong = find_prefix(report.missing, unexpected)
    if adapter := next((name for name in headers if ADAPTER.search(name)), None):
        yield f"{file_of(headers, adapter)}: {adapter} is of an adapter beside the model; merge it, then save"
    elif packed := next((name for name in headers if FEW_BITS.search(name)), None):
        yield f"{file_of(headers, packed)}: {packed} is of weights in few bits; choose the unquantised model"
    elif wrong is not None:
        yield (
            f"{file_of(headers, wrong[1])}: tensors are called {wrong[1]}, with {wrong[0]!r} in the name; "
            "take it out and save the model again"
        )
    else:
        yield from find_layer_obstacles(report, unexpected, headers)
    for name in report.mismatched:
        yield from describe_shape(report, name, headers)
        break
    if strange := [name for name, header in headers.items() if header.dtype not in FLOATS and not BUFFERS.search(name)]:
        yield (
            f"{headers[strange[0]].file}: {strange[0]} is stored as {headers[strange[0]].dtype}, which is no floating "
            "point that can be trained; choose the unquantised model"
        )


def find_prefix(missing: list[str], unexpected: list[str]) -> tuple[str, str] | None:
    """What the names of half of the missing tensors have in them beyond what they should, and a name that has it."""
    known, prefixes = set(missing), Counter[str]()
    first: dict[str, str] = {}
    for name in unexpected:
        parts = name.split(".")
        for begin, end in combinations(range(len(parts)), 2):  # at the beginning first, then behind `model.`
            if ".".join([*parts[:begin], *parts[end:]]) in known:
                prefix = ".".join(parts[begin:end]) + "."
                prefixes[prefix] += 1
                first.setdefault(prefix, name)
                break
    if not prefixes:
        return None
    prefix, count = prefixes.most_common(1)[0]
    return (prefix, first[prefix]) if 2 * count >= len(missing) else None


def find_layer_obstacles(
    report: LoadingReport, unexpected: list[str], headers: dict[str, TensorHeader]
) -> Iterator[str]:
    layers = int(report.model.config.num_hidden_layers)
    beyond = [name for name in unexpected if (found := LAYER.search(name)) and int(found[1]) >= layers]
    if beyond:
        yield (
            f"config.json: num_hidden_layers={layers}, but {file_of(headers, beyond[0])} has {beyond[0]}; "
            "write the number of layers that the file has"
        )
    stored = {int(found[1]) for name in headers if (found := LAYER.search(name))}
    lacking = [
        name for name in report.missing if (found := LAYER.search(name)) and int(found[1]) > max(stored, default=0)
    ]
    if stored and lacking:
        yield (
            f"config.json: num_hidden_layers={layers}, but {file_of_all(headers)} ends with layer {max(stored)}; "
            f"write {max(stored) + 1}, or fetch the whole model"
        )
    if missing := [name for name in report.missing if name not in lacking]:
        name = missing[0]
        head = (
            ", or if its head is its table write tie_word_embeddings=true in config.json"
            if "lm_head" in name or "embed_out" in name
            else ""
        )
        yield (
            f"{file_of_all(headers)}: {name}, which config.json promises, is missing{count_others(missing)}; "
            f"fetch the whole model{head}"
        )
    if left := [name for name in unexpected if name not in beyond]:
        yield (
            f"{file_of(headers, left[0])}: {left[0]} has no place in model_type={report.model.config.model_type}"
            f"{count_others(left)}; fetch config.json and weights of one revision, or choose another model"
        )


def describe_shape(report: LoadingReport, name: str, headers: dict[str, TensorHeader]) -> Iterator[str]:
    wanted, stored = list(report.model.state_dict()[name].shape), find_header(headers, name)
    field = report.model.config.attribute_map.get("vocab_size", "vocab_size")
    if stored is not None and wanted == list(report.table.shape) and wanted[1:] == list(stored.shape[1:]):
        yield (
            f"config.json: {field}={wanted[0]}, but {name} in {stored.file} has {stored.shape[0]} rows; "
            f"write {field}={stored.shape[0]}"
        )
        return
    yield (
        f"{stored.file if stored else file_of_all(headers)}: {name} has the shape "
        f"{list(stored.shape) if stored else '?'}, config.json makes it {wanted}{count_others(report.mismatched)}; "
        "fetch both files from one revision"
    )


def find_header(headers: dict[str, TensorHeader], name: str) -> TensorHeader | None:
    """The header of a tensor, whose name in the file may lack or have the inner model's prefix."""
    return next(
        (
            header
            for stored, header in headers.items()
            if stored == name or stored.endswith(f".{name}") or name.endswith(f".{stored}")
        ),
        None,
    )


def file_of(headers: dict[str, TensorHeader], name: str) -> str:
    header = find_header(headers, name)
    return header.file if header else file_of_all(headers)


def file_of_all(headers: dict[str, TensorHeader]) -> str:
    files = {header.file for header in headers.values()}
    return "model.safetensors.index.json" if len(files) > 1 else [*files, "model.safetensors"][0]


def count_others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
