import prepare_stage
import pytest


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Run the stage in an empty folder on sources given as (name, content, settings)."""
    monkeypatch.chdir(tmp_path)
    return prepare_stage.run
