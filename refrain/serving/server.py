"""The application: what its routes share, and the routes themselves."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette

from refrain.generation.request import GenerationRequest
from refrain.pipeline import paths
from refrain.serving.api_keys import ApiKeys, read_keys
from refrain.serving.backends.protocol import Generation
from refrain.serving.errors import EXCEPTION_HANDLERS
from refrain.serving.lineage.answer_log import AnswerLog
from refrain.serving.lineage.influence_job import InfluenceJobs
from refrain.serving.lineage.model_lineage import ModelLineage
from refrain.serving.lineage.shared_search import SharedSearch
from refrain.serving.metrics import Metrics
from refrain.serving.middleware.stack import middleware_stack
from refrain.serving.models.model_pool import ModelPool, Replacement, ServedModel
from refrain.serving.models.warmup import warm_up
from refrain.serving.process.readiness import Readiness
from refrain.serving.requests.grammars import GrammarCache
from refrain.serving.requests.served_tokenizer import ServedTokenizers
from refrain.serving.response_cache import ResponseCache
from refrain.serving.responses.session_store import SessionStore, open_sessions
from refrain.serving.routes import (
    chat_completions,
    completions,
    feedback,
    health,
    lineage,
    metrics,
    models,
    openapi,
    page,
    reload,
    responses,
    sessions,
    tokens,
    trace,
    training_rows,
)
from refrain.serving.settings.schema import ServeSettings


@dataclass
class Server:
    """What every route can ask for: `request.app.state.server`."""

    settings: ServeSettings
    models: ModelPool
    answers: AnswerLog
    cache: ResponseCache
    metrics: Metrics
    keys: ApiKeys
    sessions: SessionStore
    training: SharedSearch = field(default_factory=lambda: SharedSearch(paths.PREPARED))
    influence: InfluenceJobs = field(default_factory=InfluenceJobs)
    lineage: ModelLineage = field(default_factory=ModelLineage)
    readiness: Readiness = field(default_factory=Readiness)
    tokenizers: ServedTokenizers = field(default_factory=ServedTokenizers)
    grammars: GrammarCache = field(default_factory=GrammarCache)

    async def change_settings(self, settings: ServeSettings, keys: ApiKeys) -> list[Replacement]:
        """Go on with other settings and with what the folders of models hold now; ApiError where one is damaged."""
        replacements = await self.models.reload(settings)
        self.cache.configure(settings.cache)
        self.settings, self.keys = settings, keys
        return replacements

    def submit(self, model: ServedModel, request: GenerationRequest, uses_cache: bool = True) -> Generation:
        """Start one reply; ApiError where the queue is full. The one way from a route to a backend."""
        deadline = time.monotonic() + self.settings.timeout

        def start() -> Generation:
            if uses_cache and self.settings.backend != "openai":  # another server need not say the same again
                return self.cache.submit(model, request, deadline, self.settings.threads)
            return model.backend.submit(request, deadline)

        return self.metrics.observe(model.name, request, start)


def create_app(settings: ServeSettings) -> Starlette:
    """The server as an ASGI application; ValueError when its model does not open."""
    server = Server(
        settings, ModelPool(settings), AnswerLog(settings.answers_memory), ResponseCache(settings.cache), Metrics(),
        read_keys(settings), open_sessions(settings),
    )  # fmt: skip

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        warming = asyncio.create_task(warm_up(server.models.default.backend, server.readiness))
        yield
        warming.cancel()
        server.models.close()
        server.sessions.close()
        server.training.close()
        server.grammars.close()

    families = (
        chat_completions, completions, feedback, health, lineage, metrics, models, openapi, page, reload, responses,
        sessions, tokens, trace, training_rows,
    )  # fmt: skip
    routes = [route for family in families for route in family.ROUTES]
    middleware = middleware_stack(
        lambda: server.settings, lambda: server.keys, server.readiness, lambda: server.models.is_alive()
    )
    app = Starlette(routes=routes, lifespan=lifespan, middleware=middleware, exception_handlers=EXCEPTION_HANDLERS)
    app.router.redirect_slashes = False  # a POST that is sent elsewhere loses its body with some clients
    app.state.server = server
    return app
