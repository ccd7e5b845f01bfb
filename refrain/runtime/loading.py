"""An exported model, open: whichever graph is in the folder, it speaks through the same two doors.

`forward` is what decoding.LanguageModel promises; `slots` gives rows of tokens, fed one by one, that step together.
"""

from pathlib import Path

from refrain.runtime import compact_session, session, traced_session

Session = compact_session.CompactSession | traced_session.TracedSession


Slots = compact_session.CompactSlots | traced_session.TracedSlots


def load_model(folder: Path, threads: int | None = None) -> Session:
    """The model of a folder; ValueError when there is none, or none that runs here."""
    opened = session.open_session(folder / "model.onnx", threads)
    is_compact = "logits_at" in {each.name for each in opened.get_inputs()}
    return (
        compact_session.CompactSession(folder, opened) if is_compact else traced_session.TracedSession(folder, opened)
    )
