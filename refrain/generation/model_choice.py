"""Which exported model is opened for what a person has named, and what to name where that is none."""

import re
from pathlib import Path

from refrain.pipeline import paths
from refrain.runtime import onnx_folder

HUB_NAME = re.compile(r"\w[\w.-]*/[\w.-]+")
GGUF = "a GGUF model, for llama.cpp"
DEFAULT = paths.ONNX / paths.BEST


def choose_model(name: str) -> Path:
    """The folder with a graph that is meant: this one, the best of these variants, or that of this graph.

    ValueError says what is there instead, and what to name.
    """
    place = Path(name)
    if place.name == onnx_folder.GRAPH and place.is_file():
        return place.parent
    for folder in (place, place / paths.BEST):
        if onnx_folder.has_model(folder):
            return folder
    if place == DEFAULT:
        raise ValueError(f"{place / onnx_folder.GRAPH}: no such file; {way_out()}")
    if not place.exists():
        raise ValueError(explain_absence(name))
    if variants := find_models(place):
        raise ValueError(f"{name}: it holds no {onnx_folder.GRAPH}; name one of {', '.join(map(str, variants))}")
    raise ValueError(f"{name}: it {describe_content(place)}, and an exported model is opened; {way_out()}")


def choose_weights(name: str) -> Path:
    """The folder with safetensors that is meant, for PyTorch; for the exported models the one that they are made of."""
    place = paths.MERGED if Path(name) in (paths.ONNX, DEFAULT) else Path(name)
    if not place.is_dir():
        raise ValueError(
            f"{place}: there is no such folder; `dvc pull {paths.MERGED}` fetches {paths.MERGED}, `dvc repro` makes it"
        )
    if not list(place.glob("*.safetensors")):
        raise ValueError(f"{place}: it {describe_content(place)}, and PyTorch opens safetensors; name {paths.MERGED}")
    return place


def choose_tokenizer(name: str) -> Path:
    """The folder with a tokenizer that is meant: this one, or that of the best of these variants."""
    place = Path(name)
    for folder in (place, place / paths.BEST):
        if (folder / "tokenizer.json").is_file():
            return folder
    raise ValueError(
        f"{name}: there is no tokenizer.json in it; name {DEFAULT}, or a folder with the model's tokenizer"
    )


def explain_absence(name: str) -> str:
    """Why a name that is no place stands for no model either."""
    if "/" not in name and onnx_folder.has_model(paths.ONNX / name):
        return f"{name}: there is no such folder; the variant of that name is {paths.ONNX / name}"
    if HUB_NAME.fullmatch(name) and not Path(name).parent.exists():
        return (f"{name}: there is no such folder, and what is on the Hub has to be exported first: "
                f"`dvc exp run -S model=hub -S model.hub={name}` fine-tunes and exports it; {way_out()}")  # fmt: skip
    return f"{name}: there is no such folder; {way_out()}"


def find_models(place: Path) -> list[Path]:
    """What can be named instead of a folder: those below it that hold variants or a graph."""
    graphs = [*place.glob(f"*/{onnx_folder.GRAPH}"), *place.glob(f"*/*/{onnx_folder.GRAPH}")]
    folders = {file.parent for file in graphs}
    variants = {folder.parent for folder in folders if folder.name == paths.BEST}
    return sorted(variants | {folder for folder in folders if folder.parent not in variants})


def describe_content(place: Path) -> str:
    """What a folder or a file is, by the names in it."""
    if place.is_file():
        return f"is {GGUF}" if place.suffix == ".gguf" else "is a file"
    names = {path.name for path in place.iterdir()}
    suffixes = {Path(name).suffix for name in names}
    kinds = {
        "nothing": not names,
        "the checkpoint of a training": "trainer_state.json" in names,
        "an adapter": "adapter_config.json" in names,
        GGUF: ".gguf" in suffixes,
        "an exported model, which needs no PyTorch": onnx_folder.has_model(place),
        "the weights of a model as PyTorch loads them": bool({".safetensors", ".bin"} & suffixes),
        f"a graph that is not called {onnx_folder.GRAPH}": ".onnx" in suffixes,
        f"no {onnx_folder.GRAPH}": True,
    }
    return f"holds {next(kind for kind, is_so in kinds.items() if is_so)}"


def way_out() -> str:
    """What to name, or how to get something to name."""
    if onnx_folder.has_model(DEFAULT):
        return f"name {DEFAULT}, or leave --model out"
    if not paths.CONF.is_dir():
        return f"no repository of Refrain is here: name a folder, as `dvc get REPOSITORY {paths.ONNX}` fetches one"
    return f"`dvc pull {paths.ONNX}` fetches {DEFAULT}, `dvc repro` makes it"
