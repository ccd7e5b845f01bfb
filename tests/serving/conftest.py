import threading
from contextlib import ExitStack

import pytest
import served_model

from refrain.serving.settings.schema import CacheSettings, ServeSettings


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory):
    """A folder like models/onnx, of a model that speaks in bytes: to be copied, not to be changed."""
    return served_model.build(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def serve(served_folder):
    """A function that starts a server with further settings, until the end of the module."""
    with ExitStack() as stack:

        def start(**settings):
            given = {"model": str(served_folder), "port": 0, "threads": 1, **settings}
            return stack.enter_context(served_model.run_server(ServeSettings(**given)))

        yield start


@pytest.fixture(scope="session")
def server(served_folder):
    """One server for all modules, whose replies are made anew each time: its url, its client, and its insides."""
    feedback = str(served_folder.parent / "feedback.jsonl")  # what is drawn at random is not for this repository
    settings = ServeSettings(
        model=str(served_folder), port=0, threads=1, cache=CacheSettings(max_bytes=0), feedback=feedback
    )
    with served_model.run_server(settings) as running:
        yield running


@pytest.fixture
def hold(monkeypatch):
    """A function that gives an event without which the engine of a server makes no step, until the end of the test."""
    event = threading.Event()

    def hold_engine(running):
        engine = running.server.models.default.backend._engine
        step = engine.step
        monkeypatch.setattr(engine, "step", lambda: event.wait() and step())
        return event

    yield hold_engine
    event.set()
