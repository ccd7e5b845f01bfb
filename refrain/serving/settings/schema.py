"""What can be set of a server: types, ranges, what each is for, and the one place of the default values."""

from typing import Annotated, Any, Literal

import msgspec

Level = Literal["debug", "info", "warning", "error"]


def about(text: str, *, restart: bool = False, secret: bool = False, path: bool = False, **limits: Any) -> msgspec.Meta:
    """What a setting is for; whether it changes only at a start, is hidden, names a file; msgspec's limits on it."""
    return msgspec.Meta(description=text, extra={"restart": restart, "secret": secret, "path": path}, **limits)


Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class SamplingSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What holds for a request that does not say it itself."""

    temperature: Annotated[float, about("0 for the likeliest token, above it sampling", ge=0, le=2)] = 0.0
    top_p: Annotated[float, about("nucleus sampling: the likeliest tokens that add up to it", gt=0, le=1)] = 1.0
    top_k: Annotated[int, about("sample from so many of the likeliest tokens, 0 for all", ge=0)] = 0
    min_p: Annotated[float, about("drop tokens less likely than this share of the likeliest", ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, about("above 1, against tokens of prompt and reply", ge=0.01, le=100)] = 1.0
    presence_penalty: Annotated[float, about("above 0, against tokens of the reply", ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, about("the same, by count", ge=-2, le=2)] = 0.0
    max_tokens: Annotated[
        Annotated[int, msgspec.Meta(ge=1)] | None, about("tokens of a reply; null for what the context has left")
    ] = None


class LimitSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What one client may take."""

    connections: Annotated[Count, about("connections at once; more get 503")] = 512
    body_bytes: Annotated[Count, about("the longest body of a request; longer ones get 413")] = 4_000_000
    requests_per_key: Annotated[Count | None, about("requests of one key at once; more get 429; null for any")] = None
    header_seconds: Annotated[Seconds, about("until the head of a request is whole")] = 10.0
    body_seconds: Annotated[Seconds, about("until its body is whole; later ones get 408")] = 30.0
    idle_seconds: Annotated[Seconds, about("a connection may be idle; longer than the proxy's in front")] = 75.0
    stalled_seconds: Annotated[Seconds, about("a client may read nothing of a reply before it is cut off")] = 60.0


class CacheSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What is kept of replies that would be the same again."""

    max_bytes: Annotated[int, about("bytes of replies; the least recently used leave; 0 for no cache", ge=0)] = (
        32 * 2**20
    )
    ttl: Annotated[Seconds, about("seconds for which a reply is kept")] = 3600.0
    check_every: Annotated[int, about("each so many hits one is made again and compared; 0 for none", ge=0)] = 100


class LogSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What is written to stderr."""

    level: Annotated[Level, about("the least of what is logged")] = "info"
    format: Annotated[Literal["text", "json"], about("lines for people, or JSON")] = "text"
    access: Annotated[bool, about("a line for each request, but for probes of health")] = True
    prompts: Annotated[bool, about("with the bodies of requests, which hold what people write")] = False


class ServeSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Everything that `conf/serve.yaml`, REFRAIN_SERVE_* and the options of `refrain serve` may say."""

    model: Annotated[str, about("a folder of variants, or one of them", path=True)] = "models/onnx"
    models: Annotated[dict[str, str], about("further folders by the names that requests call them", path=True)] = {}
    backend: Annotated[
        Literal["onnx", "pytorch", "openai"],
        about("what answers: the exported model, the merged one in PyTorch, or another server", restart=True),
    ] = "onnx"
    device: Annotated[str | None, about("of PyTorch, by its name for it; null for the fastest", restart=True)] = None
    backend_url: Annotated[str | None, about("the other server, such as http://127.0.0.1:8080/v1", restart=True)] = None
    backend_model: Annotated[str | None, about("its model; null where it has one alone", restart=True)] = None
    backend_api_key: Annotated[
        str | None, about("the key that it asks for; safer in the environment", restart=True, secret=True)
    ] = None
    served_model_name: Annotated[str, about("what requests call it; variants are NAME:VARIANT", restart=True)] = (
        "refrain"
    )
    host: Annotated[str, about("the address to listen at; beyond this machine only with a key", restart=True)] = (
        "127.0.0.1"
    )
    port: Annotated[int, about("0 for any that is free", restart=True, ge=0, le=65535)] = 8000
    threads: Annotated[Count | None, about("of one step; null for as many as there are cores", restart=True)] = None
    max_num_seqs: Annotated[Count, about("sequences that run at once", restart=True)] = 8
    prompt_lookup_num_tokens: Annotated[
        int,
        about("tokens drafted in a step where a text repeats itself: the same replies sooner; 0 for none", restart=True,
              ge=0, le=64),
    ] = 0  # fmt: skip
    max_waiting: Annotated[int, about("requests that wait beside them; more get 429", restart=True, ge=0)] = 64
    models_memory: Annotated[Count | None, about("bytes of weights kept open; null for half of what is free")] = None
    kv_cache_memory: Annotated[
        Count | None, about("bytes for keys and values of one model; null for half of what is free", restart=True)
    ] = None
    timeout: Annotated[Seconds, about("seconds that a request may take, with its time in the queue")] = 600.0
    drain: Annotated[float, about("seconds that replies may go on after SIGTERM", ge=0)] = 30.0
    api_key: Annotated[str | None, about("the key that requests must have; safer in the environment", secret=True)] = (
        None
    )
    admin_key: Annotated[str | None, about("the key that may reload from elsewhere", secret=True)] = None
    keys: Annotated[str | None, about("a file of keys, one a line: KEY or sha256:HEX, and a name", path=True)] = None
    metrics_open: Annotated[bool, about("/metrics without a key")] = False
    hosts: Annotated[list[str], about("names in the Host header beside this machine's own; * for any")] = []
    origins: Annotated[list[str], about("web pages elsewhere that may call it (CORS); * for any")] = []
    sessions: Annotated[
        str | None,
        about("a folder for conversations, which stay there; null: responses in memory", restart=True, path=True),
    ] = None
    sessions_memory: Annotated[
        int, about("bytes for responses where there is no such folder; the oldest leave", restart=True, ge=2**16)
    ] = 32 * 2**20
    answers_memory: Annotated[int, about("bytes for answers that lineage and replay know", restart=True, ge=0)] = (
        32 * 2**20
    )
    feedback: Annotated[
        str | None, about("a file for corrected answers; null for data/raw/feedback.jsonl of a repository", path=True)
    ] = None
    lenient: Annotated[bool, about("ignore unknown parameters and name them in a header, in place of a 400")] = False
    sampling: SamplingSettings = SamplingSettings()
    limits: LimitSettings = LimitSettings()
    cache: CacheSettings = CacheSettings()
    log: LogSettings = LogSettings()
