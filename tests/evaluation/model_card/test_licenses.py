"""The license of the result follows from what the cards of its parts say, and is unknown where one says nothing."""

import pytest

from refrain.evaluation.model_card import facts, licenses

CC0, MIT, APACHE, BY = ({"license": [name]} for name in ("cc0-1.0", "mit", "apache-2.0", "cc-by-4.0"))
GEMMA = {"license": ["other"], "license_name": "gemma-terms", "license_link": "https://example.org/terms"}


@pytest.mark.parametrize(("parts", "expected"), [
    ([], {"license": "unknown"}),
    ([CC0, {}], {"license": "unknown"}),
    ([APACHE, {"license": ["unknown"]}], {"license": "unknown"}),
    ([APACHE, {"language": ["en"]}], {"license": "unknown"}),
    ([CC0, CC0], {"license": "cc0-1.0"}),
    ([APACHE, CC0, APACHE], {"license": "apache-2.0"}),
    ([APACHE, MIT], {"license": "other", "license_name": "apache-2.0-and-mit"}),
    ([{"license": ["cc-by-4.0", "mit"]}], {"license": "other", "license_name": "cc-by-4.0-and-mit"}),
    ([GEMMA, CC0], {"license": "other", "license_name": "gemma-terms", "license_link": "https://example.org/terms"}),
    ([GEMMA, {"license": ["other"]}], {"license": "other", "license_name": "gemma-terms-and-unknown"}),
    ([{"license": ["other"]}], {"license": "other", "license_name": "unknown"}),
])  # fmt: skip
def test_the_license_that_asks_something_holds_for_the_whole(parts, expected):
    assert licenses.combine_licenses(parts) == expected


DATA = {
    "cards": {"0-a.jsonl": CC0, "corpus": MIT, "2-test.jsonl": BY},
    "sources": {"0-a.jsonl": {"train": 3}, "1-b.csv": {"train": 1}, "2-test.jsonl": {"train": 0}},
}
ROWS = {"0-a.jsonl": CC0, "1-b.csv": {}}


@pytest.mark.parametrize(("base", "start", "parts"), [
    ({"tiny": {"corpus": "c.txt"}}, None, {"base (tiny)": MIT}),
    ({"tiny": {"corpus": None}}, None, {}),  # made of the rows
    ({"hub": "birds/wren"}, None, {"base (wren)": APACHE}),
    ({"folder": "mine"}, "v1.0", {"base (mine)": APACHE, "what v1.0 was trained on": {}}),
])  # fmt: skip
def test_the_parts_are_the_base_what_was_trained_on_before_and_the_sources_of_training_rows(
    base, start, parts, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/base").mkdir(parents=True)
    (tmp_path / "models/base/README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert facts.read_terms(base, DATA, start) == parts | ROWS
