"""An exported model, open: whichever graph is in the folder, it speaks through the same two doors.

`forward` is what decoding.LanguageModel promises; `slots` gives rows of tokens, fed one by one, that step together.
"""

from pathlib import Path

from refrain.runtime import compact_session as compact
from refrain.runtime import session
from refrain.runtime import traced_session as traced

Session = compact.Session | traced.Session


Slots = compact.Slots | traced.Slots


def load(folder: Path, threads: int | None = None) -> Session:
    """The model of a folder; ValueError when there is none, or none that runs here."""
    opened = session.opened(folder / "model.onnx", threads)
    is_compact = "logits_at" in {each.name for each in opened.get_inputs()}
    return compact.Session(folder, opened) if is_compact else traced.Session(folder, opened)
