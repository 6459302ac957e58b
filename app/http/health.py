"""Whether the service lives, whether it takes readings, and what it counts."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.http.current import Current
from app.metrics import exposition

NO_STORE = {"Cache-Control": "no-store"}
routes = APIRouter(tags=["operation"])


@routes.get("/health/live", summary="The process answers")
async def live() -> JSONResponse:
    """The process answers; nothing else is looked at."""
    return JSONResponse({"status": "live"}, headers=NO_STORE)


@routes.get(
    "/health/ready",
    summary="Readings are taken",
    responses={503: {"description": "Nothing can be taken; `detail` says why."}},
)
async def ready(service: Current) -> JSONResponse:
    """Whether readings are taken, whether or not the database is there."""
    health = service.health()
    document = {
        "status": "ready" if health.ready else "not ready",
        "database": health.database,
        "spool_batches": health.spool_batches,
        "detail": health.sentences,
    }
    return JSONResponse(document, 200 if health.ready else 503, headers=NO_STORE)


@routes.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(service: Current) -> Response:
    """Loop lag, depths, ages and counters per source and stage."""
    return Response(exposition(service.gauges(), service.sources()), media_type=CONTENT_TYPE_LATEST)
