"""Front matter as people write it, and as the Hub reads ours."""

import pytest

from refrain.pipeline import front_matter


@pytest.mark.parametrize(("text", "terms"), [
    ("---\nlicense: mit\nlanguage: en\n---\n# A", {"license": ["mit"], "language": ["en"]}),
    ("\ufeff---\r\nlicense: [mit, cc0-1.0]\r\n---\r\n", {"license": ["mit", "cc0-1.0"]}),
    ("---\nlanguage: no\n---\n", {"language": ["no"]}),  # Norwegian, which YAML takes for false
    ("---\nlanguage:\n- no\n- en\nlicense:\n---\n", {"language": ["no", "en"]}),
    ("---\nlicense: other\nlicense_name: x\n---\n", {"license": ["other"], "license_name": "x"}),
    ("# A\n---\nlicense: mit\n---\n", {}),
    ("---\nlicense: mit\n", {}),  # never closed
    ("---\n: [\n---\n", {}),
    ("---\n- mit\n---\n", {}),
    ("", {}),
])  # fmt: skip
def test_terms_are_what_a_card_says_and_nothing_else(text, terms, tmp_path):
    (tmp_path / "README.md").write_bytes(text.encode())
    assert front_matter.read_terms(tmp_path / "README.md") == terms


def test_a_card_is_read_as_it_was_written():
    metadata = {"license": "mit", "language": ["no", "é"], "value": 1e-6, "empty": None}
    card = front_matter.join_front_matter(metadata, "# A\n\n---\nno front matter\n---\n")
    assert front_matter.split_front_matter(card) == (metadata, "\n# A\n\n---\nno front matter\n---\n")


def test_no_card_says_nothing(tmp_path):
    assert front_matter.read_terms(tmp_path / "README.md") == {}
