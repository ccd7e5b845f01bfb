"""The application: what its routes share, and the routes themselves."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from refrain.generation.request import GenerationRequest
from refrain.serving.answer_log import AnswerLog
from refrain.serving.backends.protocol import Generation
from refrain.serving.errors import ApiError
from refrain.serving.metrics import Metrics
from refrain.serving.model_pool import ModelPool, ServedModel
from refrain.serving.response_cache import ResponseCache
from refrain.serving.routes import chat_completions, health, metrics, models, page, reload
from refrain.serving.settings import ServeSettings


@dataclass
class Server:
    """What every route can ask for: `request.app.state.server`."""

    settings: ServeSettings
    models: ModelPool
    answers: AnswerLog
    cache: ResponseCache
    metrics: Metrics

    def submit(self, model: ServedModel, request: GenerationRequest, uses_cache: bool = True) -> Generation:
        """Start one reply; ApiError where the queue is full. The one way from a route to a backend."""
        deadline = time.monotonic() + self.settings.timeout

        def start() -> Generation:
            if uses_cache:
                return self.cache.submit(model, request, deadline, self.settings.threads)
            return model.backend.submit(request, deadline)

        return self.metrics.observe(model.name, request, start)


def create_app(settings: ServeSettings) -> Starlette:
    """The server as an ASGI application; ValueError when its model does not open."""
    server = Server(settings, ModelPool(settings), AnswerLog(), ResponseCache(settings.cache), Metrics())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        server.models.close()

    routes = [*chat_completions.ROUTES, *models.ROUTES, *health.ROUTES, *metrics.ROUTES, *page.ROUTES, *reload.ROUTES]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={ApiError: answer_error})
    app.state.server = server
    return app


async def answer_error(_: Request, error: Exception) -> JSONResponse:
    """The one shape of every error."""
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, error.headers())
