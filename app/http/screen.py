"""The built screen: hashed assets for good, every other path the one page."""

from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from app.http.problem import Problem

STATIC = Path(__file__).parent.parent / "static"
FOREVER = "public, max-age=31536000, immutable"
NOT_PAGES = ("api/", "assets/", "health/", "metrics")
NOT_BUILT = (
    "The screen has not been built yet: run `make install` (or `make ui`) and reload this page.\n"
    "The API answers at /api/v1; its description is /api/v1/openapi.json.\n"
)


def build(static: Path = STATIC) -> str:
    """Names what is running: another one has other assets."""
    page = static / "index.html"
    mark = blake2b(page.read_bytes(), digest_size=4).hexdigest() if page.is_file() else "bare"
    return f"{version('andon')}+{mark}"


class Assets(StaticFiles):
    """Files whose names change with their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """The file, to be kept for good."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = FOREVER
        return response


def router(static: Path = STATIC) -> APIRouter:
    """Mounted last: it answers whatever no other route does."""
    routes = APIRouter(include_in_schema=False)
    assets = static / "assets"
    if assets.is_dir():
        routes.mount("/assets", Assets(directory=assets))
    files = {file.name: file for file in static.glob("*") if file.is_file()}

    @routes.get("/{path:path}")
    @routes.head("/{path:path}")
    async def page(request: Request, path: str) -> Response:
        if path.startswith(NOT_PAGES) or request.url.path == "/api":
            raise Problem(404, f"there is nothing at {request.url.path}")
        file = files.get(path, files.get("index.html"))
        if file is None:
            return PlainTextResponse(NOT_BUILT, 503)
        return FileResponse(file, headers={"Cache-Control": "no-cache"})

    return routes
