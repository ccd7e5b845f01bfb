"""A base without a template of its own is exported in each setting, and compared with what it says in fp32."""

import json
import shutil

import pytest

from benchmarks import variants

SETTINGS = ["{bits: 8, activations: token, head_bits: 8}", "{bits: 4, block: 32}"]

pytestmark = pytest.mark.heavy


def test_a_base_takes_the_template_of_a_preset_along_and_few_bits_diverge_more(base, tmp_path, monkeypatch, capsys):
    shutil.copytree(base, tmp_path / "base")
    settings = json.loads((tmp_path / "base/tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (tmp_path / "base/tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "base/chat_template.jinja").unlink(missing_ok=True)
    (tmp_path / "questions.jsonl").write_text("".join(f'{{"question": "Where is {place}?"}}\n' for place in "abcdef"))
    arguments = "--template", "alpaca", "--prompts", "3", "--tokens", "4", "--scratch", str(tmp_path)
    command = ["variants", str(tmp_path / "base"), str(tmp_path / "questions.jsonl"), *arguments]
    monkeypatch.setattr("sys.argv", [*command, "--settings", *SETTINGS])
    variants.main()
    rows = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines()]
    assert [row[0].strip()[:6] for row in rows[2:]] == ["fp32, ", "8 bits", "4 bits"]
    assert 0 < float(rows[3][5]) < float(rows[4][5])
