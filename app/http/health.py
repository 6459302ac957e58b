"""Whether the service lives, whether it takes readings, and what it counts."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.http.ports import Service
from app.metrics import exposition


def router(service: Service) -> APIRouter:
    """Outside /api/v1: for orchestrators and Prometheus, without a token."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/health/live", summary="The process answers")
    async def live() -> JSONResponse:
        return JSONResponse({"status": "live"}, headers=NO_STORE)

    @routes.get(
        "/health/ready",
        summary="Readings are taken",
        responses={503: {"description": "Nothing can be taken; `detail` says why."}},
    )
    async def ready() -> JSONResponse:
        health = service.health()
        document = {
            "status": "ready" if health.ready else "not ready",
            "database": health.database,
            "spool_batches": health.spool_batches,
            "detail": health.sentences,
        }
        return JSONResponse(document, 200 if health.ready else 503, headers=NO_STORE)

    @routes.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(
            exposition(service.gauges(), service.sources()), media_type=CONTENT_TYPE_LATEST
        )

    return routes


NO_STORE = {"Cache-Control": "no-store"}
