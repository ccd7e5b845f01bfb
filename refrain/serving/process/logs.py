"""What is logged, as lines for people or as JSON, each with the id of the request that it is of."""

import json
import logging
import sys
import time
from contextvars import ContextVar

from refrain.serving.settings.schema import LogSettings

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
FIELDS = "fields"  # of a record: further facts, which the JSON line has as keys
NO_NEWS = (  # of uvicorn
    "ASGI callable returned without completing response.",  # on purpose: so a client sees that a stream has failed
    "No supported WebSocket library detected.",  # and none is wanted
)
LIBRARIES = ("uvicorn", "uvicorn.error", "asyncio", "httpx", "httpcore")  # what they say below a warning is not ours


def configure_logs(settings: LogSettings) -> None:
    """Write to stderr, in the format and from the level that are set; can be called again."""
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("refrain").setLevel(settings.level.upper())
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(is_news)


def is_news(record: logging.LogRecord) -> bool:
    """Whether a record says more than the line of its request does."""
    return not str(record.msg).startswith(NO_NEWS)


class StderrHandler(logging.Handler):
    """Writes to what stderr is when something is said, for whoever runs the server may put another in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except (OSError, ValueError):  # nobody reads it any more, which is no reason to end a reply
            self.handleError(record)


class TextFormatter(logging.Formatter):
    """Time, level, message, id of the request: one line, but for a traceback below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = escape_controls(super().formatMessage(record))
        return f"{line} [{REQUEST_ID.get()}]" if REQUEST_ID.get() else line


class JsonFormatter(logging.Formatter):
    """The same as one JSON object a line, with further facts as keys."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {"time": f"{seconds}.{int(record.msecs):03}Z", "level": record.levelname.lower()}
        line |= {"logger": record.name, "message": record.getMessage()}
        if REQUEST_ID.get():
            line["request_id"] = REQUEST_ID.get()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | getattr(record, FIELDS, {}))


def escape_controls(text: str) -> str:
    r"""A text on one line: what a client sent cannot begin a line of its own, or colour the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
