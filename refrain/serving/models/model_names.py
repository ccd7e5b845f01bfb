"""Which names requests may give, and the folder that each one stands for."""

from pathlib import Path

from refrain.generation import model_choice, sessions
from refrain.pipeline import manifest, paths
from refrain.runtime import onnx_folder
from refrain.serving.models import artifact
from refrain.serving.settings.schema import ServeSettings


def find_folders(settings: ServeSettings) -> dict[str, Path]:
    """Folders by name: the default first, its variants as NAME:VARIANT, then those of further models.

    ValueError where one of them is no model, or where two have one name.
    """
    folders: dict[str, Path] = {}
    for name, place in {settings.served_model_name: settings.model, **settings.models}.items():
        if name in folders or (name == settings.served_model_name and name in settings.models):
            raise ValueError(f"models: {name} is a name already; give {place} another one")
        try:
            default = choose_folder(place, settings)
        except ValueError as error:
            raise error if name == settings.served_model_name else ValueError(f"models.{name}: {error}") from error
        folders[name] = artifact.same_files(default)
        if settings.backend != "onnx":
            continue
        folders |= {f"{name}:{folder.name}": artifact.same_files(folder) for folder in find_variants(default)}
    return folders


def choose_folder(place: str, settings: ServeSettings) -> Path:
    """The folder of a model, as the backend opens it; of one that answers elsewhere, that of its tokenizer."""
    if settings.backend == "openai":
        return model_choice.choose_tokenizer(place)
    return sessions.choose_folder(place, settings.backend)


def find_variants(folder: Path) -> list[Path]:
    """The variants beside a folder that is one of them, itself among them."""
    is_variant = folder.name == paths.BEST or (folder.parent / manifest.MANIFEST).is_file()
    places = sorted(path.parent for path in folder.parent.glob(f"*/{onnx_folder.GRAPH}")) if is_variant else []
    return [place for place in places if place.name != paths.BEST]
