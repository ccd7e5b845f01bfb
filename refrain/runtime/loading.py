"""An exported model, open: whichever graph is in the folder, it is used in the same two ways.

`forward` is what language_model.LanguageModel promises; `allocate_slots` gives a KV cache whose slots are filled one by
one and decode together.
"""

from pathlib import Path

from refrain.runtime import onnx_folder, session
from refrain.runtime.compact_session import CompactSession, CompactSlots
from refrain.runtime.traced_session import TracedSession, TracedSlots

Session = CompactSession | TracedSession
Slots = CompactSlots | TracedSlots


def load_model(folder: Path, threads: int | None = None, prepacking: bool = True) -> Session:
    """The model of a folder; ValueError when there is none, or none that runs here.

    A model in fp32 that is asked little is ready sooner without prepacking.
    """
    onnx_session = session.open_session(folder, threads, prepacking)
    kind = CompactSession if onnx_folder.is_compact(onnx_session) else TracedSession
    return kind(folder, onnx_session)
