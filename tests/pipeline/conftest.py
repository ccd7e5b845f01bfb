import pipeline_repository
import pytest
from light_stages import run


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A folder with the conf/ of the workspace, params.yaml composed from it, and a torch that must not be touched."""
    folder = pipeline_repository.copy(tmp_path_factory.mktemp("bench"), "conf", "data/raw")
    for name in ("torch", "transformers"):
        (folder / f"{name}.py").write_text("raise SystemExit('something heavy was loaded')\n")
    run(folder, "compose", fails=False)
    return folder
