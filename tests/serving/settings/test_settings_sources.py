"""Settings from a file, from the environment and from options: who overrides whom, and what a slip is told."""

import pytest

from refrain.serving.settings.schema import ServeSettings
from refrain.serving.settings.setting_fields import describe_type, list_fields
from refrain.serving.settings.settings_sources import (
    SettingsSources,
    build_settings,
    get_setting,
    option_name,
    variable_name,
)


@pytest.fixture
def load(tmp_path):
    def settings(text="", environment=(), options=()):
        file = tmp_path / "serve.yaml"
        file.write_text(text)
        return SettingsSources(file, dict(environment), dict(options)).load()

    return settings


def test_a_file_then_variables_then_options_decide(load):
    names = {"REFRAIN_SERVE_PORT": "2", "REFRAIN_SERVE_LOG__FORMAT": "json", "HOME": "/"}
    settings, origins = load("{port: 1, timeout: 5, log: {level: debug}}", names, {"port": "3"})
    assert (settings.port, settings.timeout, settings.log.format, settings.log.level) == (3, 5.0, "json", "debug")
    told = [origins[path].rpartition("/")[2] for path in ("port", "timeout", "log.format", "host")]
    assert told == ["--port", "serve.yaml", "REFRAIN_SERVE_LOG__FORMAT", "default"]


def test_without_any_source_the_defaults_hold(load):
    assert load()[0] == ServeSettings()


def test_each_setting_is_explained_and_has_an_option_and_a_variable():
    fields = list_fields().values()
    assert all(field.help and describe_type(field.type) for field in fields)
    for name in (option_name, variable_name):
        assert len({name(field.path) for field in fields}) == len(fields)
    assert build_settings({f.path: get_setting(ServeSettings(), f.path) for f in fields}) == ServeSettings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot: 1", "serve.yaml: there is no setting prot; did you mean port?"),
        ("temperature: 1", "serve.yaml: there is no setting temperature; did you mean sampling.temperature?"),
        ("log: {formt: json}", "serve.yaml: there is no setting log.formt; did you mean log.format?"),
        ("1: 2", "serve.yaml: there is no setting 1; `refrain serve --print-config` lists them"),
        ("port: abc", "serve.yaml: port: 'abc' is not a whole number from 0 up to 65535"),
        ("port: true", "serve.yaml: port: True is not a whole number from 0 up to 65535"),
        ("timeout: .nan", "serve.yaml: timeout: nan is not a number above 0"),
        ("log: {level: loud}", "serve.yaml: log.level: 'loud' is not one of debug, info, warning, error"),
        ("limits: {requests_per_key: 0}", "limits.requests_per_key: 0 is not a whole number from 1 or null"),
        ("origins: https://a", "serve.yaml: origins: 'https://a' is not a list, each text"),
        ("log: json", "serve.yaml: log is a section; write its settings below it, indented"),
        ("- port", "serve.yaml: it holds no settings; write lines such as `port: 8001`"),
        ("port: [", "serve.yaml: it is not YAML"),
        ("port: 1\nport: 2", "serve.yaml: port stands there twice; keep one"),
        ("log: {level: info, level: debug}", "serve.yaml: log.level stands there twice; keep one"),
        ("\x00", "serve.yaml: it is not YAML"),
        ("api_key: 12345", "serve.yaml: api_key: what is given is not text or null"),
    ],
)
def test_a_slip_in_the_file_is_one_sentence(load, text, told):
    with pytest.raises(ValueError) as error:
        load(text)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PROT", "1", "REFRAIN_SERVE_PROT: there is no such setting; did you mean REFRAIN_SERVE_PORT?"),
        ("LOG_FORMAT", "json", "there is no such setting; did you mean REFRAIN_SERVE_LOG__FORMAT?"),
        ("PORT", "", "REFRAIN_SERVE_PORT: it is empty; unset it, or give a value"),
        ("PORT", "8o", "REFRAIN_SERVE_PORT: '8o' is not a whole number from 0 up to 65535"),
        ("PORT", "tcp://10.0.0.1:8000", "Kubernetes sets it for a Service named refrain-serve"),
        ("METRICS_OPEN", "yes", "REFRAIN_SERVE_METRICS_OPEN: 'yes' is not true or false"),
        ("MODELS", "other", "REFRAIN_SERVE_MODELS: 'other' is not NAME=VALUE"),
    ],
)
def test_a_slip_in_a_variable_is_one_sentence(load, name, value, told):
    with pytest.raises(ValueError) as error:
        load(environment={f"REFRAIN_SERVE_{name}": value})
    assert told in str(error.value)


def test_lists_pairs_and_null_can_be_written_in_a_variable(load):
    values = {"ORIGINS": "https://a, https://b", "MODELS": "old=models/old,new=models/new", "THREADS": "null"}
    settings, _ = load("threads: 1", {f"REFRAIN_SERVE_{name}": value for name, value in values.items()})
    assert settings.origins == ["https://a", "https://b"]
    assert settings.models == {"old": "models/old", "new": "models/new"}
    assert settings.threads is None


def test_a_key_of_digits_stays_text(load):
    assert load(environment={"REFRAIN_SERVE_API_KEY": "0123"})[0].api_key == "0123"


def test_a_file_that_is_named_must_be_there(tmp_path):
    for sources in (
        SettingsSources(tmp_path / "none.yaml", {}, {}),
        SettingsSources(None, {"REFRAIN_SERVE_CONFIG": str(tmp_path / "none.yaml")}, {}),
    ):
        with pytest.raises(ValueError, match=r"none\.yaml: there is no such file; name one with --config"):
            sources.load()
