"""Structured logs: one event a line, the same for our own and the libraries' loggers, no secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
from pydantic import SecretStr
from structlog.typing import Processor

Event = MutableMapping[str, Any]

HIDDEN = "***"
_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|authorization|cookie|api_?key|ingest_key", re.IGNORECASE
)
_IN_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@", re.IGNORECASE)

QUIET = {
    # They log at error level what is an ordinary loss of connection here.
    "pymodbus": logging.CRITICAL,
    "asyncio": logging.ERROR,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "websockets": logging.WARNING,
    "numba": logging.WARNING,
}


def set_up(form: Literal["auto", "console", "json"], level: str) -> None:
    """Send every logger of this process to standard error."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    ends: list[Processor]
    if console:
        # Not rich's tracebacks, which show what every variable held: passwords too.
        plain = structlog.dev.plain_traceback
        ends = [
            structlog.processors.format_exc_info,
            without_secrets,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),
        ]
    else:
        names_only = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ends = [
            structlog.processors.ExceptionRenderer(names_only),
            without_secrets,
            structlog.processors.JSONRenderer(),
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ends],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, root.level))


def without_secrets(_logger: Any, _method: str, event: Event) -> Event:
    """Hide what is named like a secret, and passwords inside addresses."""
    for name, value in event.items():
        event[name] = _masked(name, value)
    return event


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr) or (value and _SECRET_NAME.search(name)):
        return HIDDEN
    if isinstance(value, str):
        return _IN_URL.sub(rf"\g<scheme>:{HIDDEN}@", value)
    if isinstance(value, dict):
        return {key: _masked(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", inner) for inner in value]
    return value
