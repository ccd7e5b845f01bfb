"""A server from its first socket to its last reply: signals, settings that change, the end."""

import asyncio
import functools
import logging
import os
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette

from refrain.chat.model_folder import read_attention_heads
from refrain.pipeline.cores import available_cores
from refrain.serving.api_keys import read_keys
from refrain.serving.process.connection import Connection
from refrain.serving.process.listening import describe_address, open_sockets
from refrain.serving.process.logs import configure_logs
from refrain.serving.server import Server, create_app
from refrain.serving.settings.schema import ServeSettings
from refrain.serving.settings.settings_reload import SettingsReload
from refrain.serving.settings.settings_sources import SettingsSources

log = logging.getLogger(__name__)
TICKS_A_SECOND = 10  # uvicorn's
LAST_SECONDS = 3.0  # for connections to end after the last reply


def serve(sources: SettingsSources, settings: ServeSettings) -> None:
    """Answer until SIGTERM or Ctrl-C; ValueError when the address or the model is not to be had."""
    configure_logs(settings.log)
    sockets = open_sockets(settings.host, settings.port, bool(read_keys(settings)))
    # Until the server runs, whose own handler follows: process 1 of a container would not hear of it.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        app = create_app(settings)
        GracefulServer(app, SettingsReload(app.state.server, sources)).run(sockets)
    finally:
        signal.signal(signal.SIGTERM, before)
        for opened in sockets:
            opened.close()


class GracefulServer(uvicorn.Server):
    """uvicorn's server that lets replies end, and reads its settings again when they change."""

    def __init__(self, app: Starlette, reload: SettingsReload | None = None) -> None:
        self._server: Server = app.state.server
        connection = functools.partial(Connection, lambda: self._server.settings.limits)
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(Any, connection),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=LAST_SECONDS,  # type: ignore[arg-type] # a timer takes fractions
            )
        )
        self._reload = reload
        self._reloading: asyncio.Task[None] | None = None
        self._drain_until: float | None = None
        self._has_said_so = False
        self._closing: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._reload is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._begin_reload)
        if sockets:
            print(self.describe(sockets or []), flush=True)

    def describe(self, sockets: list[socket.socket]) -> str:
        """One line that says what is served, and where."""
        model, settings = self._server.models.default, self._server.settings
        threads = settings.threads or min(available_cores(), read_attention_heads(model.folder))
        how = f"asking {settings.backend_url}" if settings.backend == "openai" else f"threads: {threads}"
        addresses = " and ".join(map(describe_address, sockets))
        return f"{addresses} serves {model.name}: {model.variant} of {model.folder}, {how}"

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets replies end, the second one does not."""
        if self._drain_until is not None:
            os.write(2, b"ended at once, by a second signal\n")
            os._exit(128 + sig)
        self._drain_until = time.monotonic() + self._server.settings.drain
        self._server.readiness.is_draining = True

    async def on_tick(self, counter: int) -> bool:
        await super().on_tick(counter)
        if self._drain_until is not None:
            return await self._drain(self._drain_until)
        if counter % TICKS_A_SECOND == 0 and self._reload is not None and self._reload.has_changed():
            self._begin_reload()
        return self.should_exit

    async def _drain(self, until: float) -> bool:
        """Whether all replies have ended, or have been told to, and it is time to go."""
        num_active = self._server.readiness.num_active
        if not self._has_said_so:
            self._has_said_so = True
            log.info("ending: %d requests may go on for %g s", num_active, self._server.settings.drain)
        if num_active and time.monotonic() > until and self._closing is None:
            log.warning("%d requests were not answered in time; they are cut off", num_active)
            self._closing = asyncio.create_task(asyncio.to_thread(self._server.models.close))
        return num_active == 0 or time.monotonic() > until + LAST_SECONDS

    def _begin_reload(self) -> None:
        """Read the settings again, beside all else that goes on."""
        if self._reload is not None and (self._reloading is None or self._reloading.done()):
            self._reloading = asyncio.create_task(self._reload.reload())
