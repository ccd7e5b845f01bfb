"""What is counted is what happened."""

import json
import re
import threading

import pytest
from places import ROOT
from prometheus_client.parser import text_string_to_metric_families

DASHBOARD = ROOT / "docs" / "deploy" / "grafana.json"
NAME = re.compile(r"\b(?:refrain|process)_[a-z0-9_]+")


@pytest.fixture(scope="module")
def metered_server(serve):
    """A server of this module alone, for others count too; and one that lets a single request wait."""
    return serve(max_num_seqs=1, max_waiting=1, prompt_lookup_num_tokens=4)


def read(server):
    """The value of each sample, by its name and what it is of."""
    response = server.get("/metrics")
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/plain")
    return {
        (
            sample.name,
            *(value for key, value in sorted(sample.labels.items()) if value and key != "model_name"),
        ): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def difference(before, after, *names):
    return [after.get(name, 0) - before.get(name, 0) for name in ((n,) if isinstance(n, str) else n for n in names)]


def test_replies_and_their_tokens_are_counted(metered_server):
    before = read(metered_server)
    usage = metered_server.chat("Hello", seed=1, temperature=1, max_tokens=5).json()
    metered_server.chat("Hello", seed=1, temperature=1, max_tokens=5)
    assert usage["choices"][0]["finish_reason"] == "length"
    names = ("refrain_generation_tokens_total", "refrain_cache_hits_total", "refrain_cache_misses_total",
             "refrain_time_to_first_token_seconds_count", "refrain_request_queue_time_seconds_count",
             "refrain_e2e_request_latency_seconds_count", ("refrain_request_success_total", "length"))  # fmt: skip
    after = read(metered_server)
    assert difference(before, after, *names) == [5, 1, 1, 2, 1, 2, 2], "a hit costs no tokens"
    (prompt_tokens,) = difference(before, after, "refrain_prompt_tokens_total")
    assert prompt_tokens > len("Hello")
    metered_server.chat("Hello", seed=2, temperature=1, max_tokens=5)
    assert difference(after, read(metered_server), "refrain_prompt_tokens_total") == [prompt_tokens]
    assert after["refrain_kv_cache_max_tokens",] == 1200 and after["process_resident_memory_bytes",] > 10**7
    seal, variant = metered_server.server.models.default.seal, "int8"
    assert after["refrain_model_info", seal, variant] == 1


def test_drafts_and_what_came_true_of_them_are_counted(metered_server, server):
    before, asked = read(metered_server), {"guided_regex": "(?:né🙂!){9}", "max_tokens": 100, "logprobs": True}
    drafted = metered_server.chat("Hello", **asked).json()
    drafts, tokens, accepted = difference(
        before, read(metered_server), *(f"refrain_spec_decode_num_{name}_total" for name in
                                        ("drafts", "draft_tokens", "accepted_tokens")))  # fmt: skip
    assert 0 < drafts <= tokens and 0 < accepted <= tokens
    assert drafted["choices"] == server.chat("Hello", **asked).json()["choices"], "the same without drafts"


@pytest.fixture
def gate(metered_server, hold):
    """An event without which the engine makes no step."""
    return hold(metered_server)


def test_who_leaves_and_who_is_refused_is_counted(metered_server, gate):
    before, models = read(metered_server), metered_server.server.models
    body = {"messages": [{"role": "user", "content": "Hello"}], "seed": 5, "stream": True}
    with metered_server.client.stream("POST", "/v1/chat/completions", json=body):
        while not models.num_running():
            pass
        waiting = threading.Thread(target=lambda: metered_server.chat("a", seed=6))
        waiting.start()
        while not models.num_waiting():
            pass
        during = read(metered_server)
        assert metered_server.chat("b", seed=7).status_code == 429
    gate.set()
    waiting.join()
    assert [during[f"refrain_requests_{state}",] for state in ("running", "waiting")] == [1, 1]
    names = ("refrain_request_success_total", "cancelled"), ("refrain_requests_refused_total", "queue_full")
    assert difference(before, read(metered_server), *names) == [1, 1]


def test_the_dashboard_and_the_page_name_what_there_is(metered_server):
    metered_server.chat("b", seed=8)
    names = {name for name, *_ in read(metered_server)}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    asked = {name for expression in expressions for name in NAME.findall(expression)}
    assert len(expressions) >= 10 and asked <= names | {"refrain_requests_refused_total"}, asked - names
    own = {name for name in names if name.startswith("refrain_") and not name.endswith(("_created", "_sum", "_count"))}
    assert {name for name in own if "_bucket" not in name} - asked <= {"refrain_cache_entries"}, "all are shown"
    page = (ROOT / "docs" / "serving.md").read_text().split("## Metrics\n")[1].split("\n## ")[0]
    histograms = {name.removesuffix("_bucket") for name in own}
    described = {name for name in NAME.findall(page) if name != "refrain_"}
    assert described == histograms | {"refrain_requests_refused_total"}, "all are described, and no other"
