"""A model is opened: its bytes compared with the manifest, its graph loaded, and a first token made."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refrain.chat import encoding, model_folder
from refrain.chat.encoding import ChatTokenizer
from refrain.experiments import machine
from refrain.generation import sessions
from refrain.runtime import loading, onnx_folder
from refrain.runtime.loading import Session
from refrain.serving.backends import upstream
from refrain.serving.backends.engine_thread import EngineThread
from refrain.serving.backends.openai import OpenAIBackend
from refrain.serving.backends.protocol import Backend
from refrain.serving.models import artifact
from refrain.serving.models.artifact import Artifact
from refrain.serving.settings.schema import ServeSettings

log = logging.getLogger(__name__)
SHARE_OF_FREE = 0.5  # of the memory that is free, for what no setting bounds


@dataclass(frozen=True)
class OpenModel:
    """A model that answers, and what it is."""

    artifact: Artifact
    backend: Backend
    num_bytes: int  # of its weights


def open_first(folder: Path, settings: ServeSettings) -> OpenModel:
    """The model of a folder, its bytes verified while it is opened: for a server that answers nobody yet.

    ValueError where a byte is not as listed, or where it does not open.
    """
    with ThreadPoolExecutor(1) as executor:
        verification = executor.submit(artifact.verify_artifact, folder)
        try:
            lm, tokenizer = load(folder, settings)
        except ValueError:
            verification.result()  # where a file is damaged, that is why
            raise
        verified = verification.result()
    return start_engine(verified, lm, tokenizer, settings)


def open_current(current: OpenModel | None, folder: Path, settings: ServeSettings) -> OpenModel:
    """What a folder holds now: what is open, if that is the same, else opened anew; ValueError where it is damaged."""
    verified = artifact.verify_artifact(folder)
    if current is not None and current.artifact.seal == verified.seal:
        return current if current.artifact == verified else OpenModel(verified, current.backend, current.num_bytes)
    return open_verified(verified, settings)


def open_verified(verified: Artifact, settings: ServeSettings) -> OpenModel:
    """The model of a folder that was verified a moment ago; ValueError where it does not open, or has changed."""
    return start_engine(verified, *load(verified.folder, settings), settings)


def load(folder: Path, settings: ServeSettings) -> tuple[Session | OpenAIBackend, ChatTokenizer]:
    """What answers, and the tokenizer; a first token is made, so that what is allocated then is there."""
    sessions.check_draft_tokens(settings.prompt_lookup_num_tokens, settings.backend)
    try:
        tokenizer = encoding.load_tokenizer(folder)
        if settings.backend == "openai":
            return connect(folder, tokenizer, settings), tokenizer
        lm = sessions.open_session(folder, settings.backend, settings.threads, settings.device)
    except OSError as error:
        raise ValueError(f"{folder}: it cannot be read ({error}); fetch it again") from error
    try:
        _ = tokenizer.stop_strings  # a template that ends no reply is found out now, not by the first request
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    slots = lm.allocate_slots(1)
    slots.prefill(0, np.zeros(1, dtype=np.int64))
    slots.decode(np.zeros(1, dtype=np.int64))
    return lm, tokenizer


def connect(folder: Path, tokenizer: ChatTokenizer, settings: ServeSettings) -> OpenAIBackend:
    """The other server, compared with the exported model where the tokenizer lies beside one."""
    if settings.backend_url is None:
        raise ValueError("backend_url: backend=openai asks another server; say which, as http://127.0.0.1:8080/v1")
    lm = loading.load_model(folder, settings.threads) if onnx_folder.has_model(folder) else None
    key = settings.backend_api_key
    found, context = upstream.connect(settings.backend_url, settings.backend_model, key, tokenizer, lm)
    own = model_folder.read_context_length(folder) if (folder / "config.json").is_file() else None
    if (seen := min((length for length in (context, own) if length), default=None)) is None:
        raise ValueError(f"{folder}: neither its config.json nor {found.address} says how many tokens the model sees")
    return OpenAIBackend(found, tokenizer, seen, settings.max_num_seqs + settings.max_waiting)


def start_engine(
    verified: Artifact, lm: Session | OpenAIBackend, tokenizer: ChatTokenizer, settings: ServeSettings
) -> OpenModel:
    """An engine for an open graph; ValueError where a file was changed since it was verified."""
    if artifact.read_stamps(verified.folder) != verified.stamps:
        raise ValueError(f"{verified.folder}: its files changed while it was opened; try again when all are there")
    if isinstance(lm, OpenAIBackend):
        return OpenModel(verified, lm, 0)
    room = kv_room(lm, settings)
    if room < lm.context:
        log.warning("%s: there is room for %d of %d tokens of its context", verified.folder, room, lm.context)
    backend = EngineThread(lm, tokenizer, settings.max_num_seqs, settings.max_waiting, room,
                           settings.prompt_lookup_num_tokens)  # fmt: skip
    return OpenModel(verified, backend, weight_bytes(verified.folder))


def weight_bytes(folder: Path) -> int:
    """Bytes of the weights in a folder, exported or for PyTorch."""
    return onnx_folder.model_bytes(folder) or sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def kv_room(lm: Session, settings: ServeSettings) -> int:
    """Tokens that all sequences may hold together; ValueError where `kv_cache_memory` is enough for none."""
    wanted, each = settings.max_num_seqs * int(lm.context), int(lm.kv_bytes_per_token)
    if settings.kv_cache_memory is not None:
        if settings.kv_cache_memory < each:
            raise ValueError(f"kv_cache_memory: {settings.kv_cache_memory} bytes hold no token of this model, which "
                             f"takes {each}; a whole context takes {each * lm.context}")  # fmt: skip
        return min(wanted, settings.kv_cache_memory // each)
    return max(1, min(wanted, share_of_free_memory() // each))


def share_of_free_memory() -> int:
    """Bytes that may be taken where no setting says how many; without end where the system does not say."""
    free = machine.free_memory()
    return 2**63 if free is None else int(SHARE_OF_FREE * free)
