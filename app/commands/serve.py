"""andon serve: the service and its web server in one process, started and stopped in order."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from app.clock import wall_clock
from app.commands import place
from app.commands.certificate import certified
from app.commands.failure import Failed
from app.commands.listener import bound
from app.http.application import create_app
from app.http.screen import build
from app.live import FrameSocket
from app.logs import set_up
from app.service import Service
from app.settings import Settings
from app.store.errors import AlreadyWriting, StoreError

LOG = structlog.get_logger("serve")
CONNECTIONS = 2_000
"""More than the screens of a plant; above it 503."""
KEEP_ALIVE_S = 30
FRAME_BYTES = 256 * 1024


class Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again before our queues have drained."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing to capture."""
        yield


def run_serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        Failed: it could not start, or could not go on.
    """
    set_up(settings.log_format, settings.log_level)
    certified(settings)
    place.make(settings.data_dir)
    listener = bound(settings.host, settings.port)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(settings, listener))
    except StoreError as error:
        raise Failed(str(error)) from error
    finally:
        listener.close()


async def _serve(settings: Settings, listener: socket.socket) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    service = Service(settings, wall_clock, build())
    starting = asyncio.create_task(service.start(), name="start")
    stopped = asyncio.create_task(stop.wait(), name="signals")
    try:
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        else:
            await starting
            await _listen(service, settings, listener, stopped)
    except AlreadyWriting:
        raise  # what runs here is somebody else's: it is not ours to stop
    except BaseException:
        await service.stop()
        raise
    else:
        await service.stop()
    finally:
        stopped.cancel()
    if service.died:
        raise Failed("a part of the service died; the log says which and why")


async def _listen(
    service: Service, settings: Settings, listener: socket.socket, stopped: asyncio.Task[bool]
) -> None:
    """Answer until told to stop; what is being answered then is still answered."""
    grace_s = settings.shutdown_grace / 1_000_000
    config = uvicorn.Config(
        create_app(service),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws=FrameSocket,
        ws_per_message_deflate=False,
        ws_max_size=FRAME_BYTES,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(grace_s / 2)),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    LOG.info("serving", url=url_of(settings, listener), build=service.build)
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        LOG.info("stopping")
    server.should_exit = True
    await serving


def url_of(settings: Settings, listener: socket.socket) -> str:
    """Where browsers find it."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = socket.gethostname()
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Uvloop where it exists."""
    if sys.platform == "win32":
        return asyncio.new_event_loop
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
