from functools import partial

import pytest
from raw_files import read


@pytest.fixture
def rows(tmp_path):
    """Write bytes or text under a name and read them back as raw rows."""
    return partial(read, tmp_path)
