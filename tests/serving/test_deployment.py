"""The files that put a server to work say what the server does: times that fit, settings that exist."""

import re

import pytest
import yaml
from places import ROOT

from refrain.serving.process.lifecycle import LAST_SECONDS
from refrain.serving.process.readiness import PROBES
from refrain.serving.settings.schema import ServeSettings
from refrain.serving.settings.settings_sources import CONFIG, SettingsSources, read_environment

SETTINGS = ServeSettings()
ENDS_WITHIN = SETTINGS.drain + LAST_SECONDS
FILES = {name: (ROOT / name).read_text() for name in ("Dockerfile", "compose.yaml", *(
    f"docs/deploy/{name}" for name in ("refrain.service", "nginx.conf", "kubernetes.yaml")))}  # fmt: skip
COMPOSE = yaml.safe_load(FILES["compose.yaml"])["services"]["refrain"]
DEPLOYMENT, SERVICE = yaml.safe_load_all(FILES["docs/deploy/kubernetes.yaml"])
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def number(file, pattern):
    return float(re.search(pattern, FILES[file])[1])


@pytest.mark.parametrize("name", FILES)
def test_every_variable_that_is_named_is_a_setting(name):
    named = {name for name in re.findall(r"REFRAIN_SERVE_\w+", FILES[name]) if name != CONFIG}
    for variable in named - {"REFRAIN_SERVE_PORT"}:
        with pytest.raises(ValueError, match="it is empty"):  # so it is known
            read_environment({variable: ""})


def test_whoever_ends_a_server_waits_for_its_replies():
    pre_stop = float(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert float(COMPOSE["stop_grace_period"].removesuffix("s")) > ENDS_WITHIN
    assert number("docs/deploy/refrain.service", r"TimeoutStopSec=(\d+)") > ENDS_WITHIN
    assert POD["terminationGracePeriodSeconds"] > ENDS_WITHIN + pre_stop
    assert "STOPSIGNAL SIGTERM" in FILES["Dockerfile"] and "ExecReload=/bin/kill -HUP" in FILES[
        "docs/deploy/refrain.service"
    ]  # fmt: skip


def test_the_proxy_gives_up_later_than_the_server_and_its_connections_sooner():
    nginx = "docs/deploy/nginx.conf"
    assert number(nginx, r"keepalive_timeout (\d+)s") < SETTINGS.limits.idle_seconds
    assert number(nginx, r"proxy_read_timeout (\d+)s") > SETTINGS.timeout
    assert number(nginx, r"client_max_body_size (\d+)m") * 2**20 >= SETTINGS.limits.body_bytes
    assert "X-Forwarded-For" in FILES[nginx] and FILES[nginx].count("{") == FILES[nginx].count("}")


def test_probes_ask_what_everybody_may_ask():
    probes = [CONTAINER[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert {probe["httpGet"]["path"] for probe in probes} <= PROBES
    assert SERVICE["spec"]["selector"] == DEPLOYMENT["spec"]["template"]["metadata"]["labels"]


def test_nobody_can_write_or_become_root():
    assert COMPOSE["read_only"] and COMPOSE["cap_drop"] == ["ALL"]
    security = CONTAINER["securityContext"]
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
    assert POD["securityContext"]["runAsNonRoot"] and re.search(r"^USER [1-9]", FILES["Dockerfile"], re.MULTILINE)


def test_the_settings_of_this_repository_are_read(monkeypatch):
    monkeypatch.chdir(ROOT)
    settings, origins = SettingsSources(None, {}, {}).load()
    assert settings == SETTINGS and origins["model"] == "conf/serve.yaml"
