"""GET /metrics: what is counted, as Prometheus reads it, under vLLM's names."""

import asyncio
import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from refrain.serving.metrics import BUCKETS, Histogram, Metrics, ModelMetrics
from refrain.serving.models.model_pool import ModelPool
from refrain.serving.response_cache import ResponseCache

if TYPE_CHECKING:
    from prometheus_client import Metric

COUNTERS = {  # of a model, by their attributes
    "prompt_tokens": "Tokens of prompts that were read or found in memory.",
    "prefix_cached_tokens": "Tokens of prompts that another prompt had left in memory.",
    "generation_tokens": "Tokens that were generated.",
    "spec_decode_num_drafts": "Drafts of prompt lookup decoding.",
    "spec_decode_num_draft_tokens": "Tokens of these drafts.",
    "spec_decode_num_accepted_tokens": "Of these tokens, those that came true.",
}
HISTOGRAMS = {
    "time_to_first_token": ("time_to_first_token_seconds", "Seconds from a request to its first token."),
    "time_per_output_token": ("time_per_output_token_seconds", "Seconds between the tokens of a reply."),
    "request_latency": ("e2e_request_latency_seconds", "Seconds from a request to the end of its reply."),
    "queue_time": ("request_queue_time_seconds", "Seconds that a request waited until it began."),
}


async def metrics(request: Request) -> Response:
    """All that is counted, in the format that is asked for."""
    await asyncio.to_thread(importlib.import_module, "prometheus_client")  # it takes a while, once
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    server = request.app.state.server
    registry.register(ServerCollector(server.models, server.metrics, server.cache))
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": content_type})


class ServerCollector:
    """What Prometheus' registry asks for families of numbers."""

    def __init__(self, models: ModelPool, metrics: Metrics, cache: ResponseCache) -> None:
        self._models, self._metrics, self._cache = models, metrics, cache

    def collect(self) -> "Iterator[Metric]":
        """Every family, with a sample for each model."""
        yield from collect_models(self._models)
        yield from collect_replies(self._metrics.by_model)
        yield from collect_cache(self._cache)


def collect_models(models: ModelPool) -> "Iterator[Metric]":
    """What is open, and what it does now."""
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

    info = InfoMetricFamily("refrain_model", "The open models.", labels=["model_name"])
    gauges = {
        name: GaugeMetricFamily(f"refrain_{name}", text, labels=["model_name"])
        for name, text in (
            ("requests_running", "Replies that grow."),
            ("requests_waiting", "Replies in the queue."),
            ("kv_cache_tokens", "Tokens that have room for keys and values, or are promised it."),
            ("kv_cache_max_tokens", "Tokens that there is room for."),
        )
    }
    for model in models.open_models():
        facts = {"seal": model.seal, "variant": model.variant, "commit": model.commit or ""}
        info.add_metric([model.name], facts)
        values = model.backend.num_running(), model.backend.num_waiting(), *(model.backend.kv_tokens() or ())
        for gauge, value in zip(gauges.values(), values, strict=False):
            gauge.add_metric([model.name], value)
    yield from (info, *gauges.values())


def collect_replies(by_model: dict[str, ModelMetrics]) -> "Iterator[Metric]":
    """What has been said so far."""
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    for name, text in COUNTERS.items():
        counter = CounterMetricFamily(f"refrain_{name}", text, labels=["model_name"])
        for model, counts in by_model.items():
            counter.add_metric([model], getattr(counts, name))
        yield counter
    finished = CounterMetricFamily(
        "refrain_request_success", "Replies by why they ended.", labels=["model_name", "finished_reason"]
    )
    refused = CounterMetricFamily(
        "refrain_requests_refused", "Requests by why none began.", labels=["model_name", "code"]
    )
    for model, counts in by_model.items():
        for family, by_label in ((finished, counts.finished), (refused, counts.refused)):
            for label, value in by_label.items():
                family.add_metric([model, label], value)
    yield from (finished, refused)
    for name, (published, text) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(f"refrain_{published}", text, labels=["model_name"])
        for model, counts in by_model.items():
            found: Histogram = getattr(counts, name)
            histogram.add_metric([model], cumulative_buckets(found), found.total)
        yield histogram


def cumulative_buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """The counts up to each bound, as Prometheus has them."""
    bounds, count = [*map(str, BUCKETS), "+Inf"], 0
    result = []
    for bound, here in zip(bounds, histogram.counts, strict=True):
        count += here
        result.append((bound, float(count)))
    return result


def collect_cache(cache: ResponseCache) -> "Iterator[Metric]":
    """What the cache of whole replies has done."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield CounterMetricFamily("refrain_cache_hits", "Replies that were kept, and said again.", cache.hits)
    yield CounterMetricFamily("refrain_cache_misses", "Replies that could have been kept.", cache.misses)
    yield CounterMetricFamily("refrain_cache_checks", "Kept replies that were made again.", cache.checks)
    yield CounterMetricFamily("refrain_cache_mismatch", "Of these, those that came out otherwise.", cache.mismatches)
    yield GaugeMetricFamily("refrain_cache_bytes", "Bytes of kept replies.", cache.num_bytes)
    yield GaugeMetricFamily("refrain_cache_entries", "Kept replies.", len(cache))


ROUTES = [Route("/metrics", metrics)]
