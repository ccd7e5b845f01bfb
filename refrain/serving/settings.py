"""What can be set of a server: types, and the one place of the default values."""

import msgspec


class ServeSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Everything that `conf/serve.yaml`, REFRAIN_SERVE_* and the options of `refrain serve` may say."""

    model: str = "models/onnx"  # a folder of variants, or one of them
    served_model_name: str = "refrain"
    host: str = "127.0.0.1"
    port: int = 8000
    threads: int | None = None  # None for as many as there are cores
    max_num_seqs: int = 8  # sequences that run at once
    max_waiting: int = 64  # requests that wait in the queue
    timeout: float = 600.0  # seconds that a request may take, with its time in the queue
