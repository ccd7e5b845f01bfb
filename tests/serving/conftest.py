from contextlib import ExitStack

import pytest
import served_model

from refrain.serving.settings import ServeSettings


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
def served(served_folder):
    """The server as it is without settings, for all modules: its url, its client, and its insides."""
    with served_model.run_server(ServeSettings(model=str(served_folder), port=0, threads=1)) as running:
        yield running
