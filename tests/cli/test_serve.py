"""The command line of the server: an option for each setting, and what is told before a model is opened."""

import pytest

from refrain.cli import main, serve
from refrain.serving.settings.setting_fields import list_fields
from refrain.serving.settings.settings_sources import option_name


def told(capsys, *arguments):
    """What a command prints, and where; all of it ends at once."""
    try:
        status = main.main(["serve", *arguments])
    except SystemExit as error:
        status = error.code
    return status, *capsys.readouterr()


def test_the_help_names_each_setting_and_its_default(capsys):
    status, out, _ = told(capsys, "--help")
    assert status == 0 and not [path for path in list_fields() if option_name(path) not in out]
    assert "default: 8000" in out and "REFRAIN_SERVE_LOG__FORMAT" in out


def test_the_settings_are_shown_with_where_they_come_from_and_without_keys(capsys, monkeypatch):
    monkeypatch.setenv("REFRAIN_SERVE_API_KEY", "sk-secret")
    status, out, _ = told(capsys, "--print-config", "--port", "3", "--origin", "https://a", "--metrics-open")
    lines = {line.split()[0]: line.split()[1:3] for line in out.splitlines()}
    assert status == 0 and "sk-secret" not in out
    assert lines["port"] == ["3", "--port"] and lines["metrics_open"] == ["true", "--metrics-open"]
    assert lines["api_key"] == ["(hidden)", "REFRAIN_SERVE_API_KEY"] and lines["origins"][0] == '["https://a"]'
    assert lines["model"] == ["models/onnx", "conf/serve.yaml"]
    assert [*lines] == ["setting", *list_fields()]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "x"], "refrain: --port: 'x' is not a whole number from 0 up to 65535"),
        (["one", "--model", "two"], "refrain: --model: it is two, beside one; name one model"),
        (["--config", "none.yaml"], "none.yaml: there is no such file"),
        (["--model", "none", "--port", "0"], "refrain: none"),
        (["--host", "0.0.0.0"], "requests need no key"),
        (["--keys", "none.txt"], "refrain: none.txt: no such file or directory"),
        (["--log-format", "xml"], "refrain: --log-format: 'xml' is not one of text, json"),
    ],
)
def test_a_slip_is_one_sentence_before_anything_is_opened(capsys, arguments, sentence):
    status, out, err = told(capsys, *arguments)
    assert (status, out) == (1, "") and sentence in err and err.count("\n") == 1


def test_folders_are_meant_from_where_a_person_stands(monkeypatch, tmp_path):
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "conf").mkdir()
    (tmp_path / "models/onnx").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "models")
    options = main.build_parser().parse_args(["serve", "onnx", "--keys", "../keys", "--models", "old=onnx"])
    assert serve.read_options(options) == {"model": "models/onnx", "keys": "keys", "models": ["old=models/onnx"]}
