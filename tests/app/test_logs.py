import io
import json
import logging
import sys

import pytest
import structlog
from pydantic import SecretStr

from app import logs


@pytest.fixture
def said(monkeypatch):
    """What is logged, as parsed lines; the loggers are put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.set_up("json", "info")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = before, level
    structlog.reset_defaults()


def test_secrets_never_show(said):
    log = structlog.get_logger("test")
    log.info(
        "connecting to mqtt://andon:hunter2@broker:1883",
        password="hunter2",
        url="postgresql://andon:hunter2@db/x",
        settings={"access_token": "hunter2", "port": 1},
        key_file=SecretStr("hunter2"),
        urls=["http://a:hunter2@b"],
    )
    logging.getLogger("library").warning("lost %s", "amqp://u:hunter2@h")
    text = json.dumps(said())
    assert "hunter2" not in text
    assert "mqtt://andon:***@broker:1883" in text
    assert "amqp://u:***@h" in text


def test_one_line_an_event_whoever_logs(said):
    structlog.get_logger("ours").info("source lost", source="press-7")
    logging.getLogger("theirs").info("hello %s", "there")
    ours, theirs = said()
    assert (ours["event"], ours["source"], ours["logger"]) == ("source lost", "press-7", "ours")
    assert (theirs["event"], theirs["level"]) == ("hello there", "info")
    assert theirs["timestamp"].endswith("Z")


def test_an_exception_is_still_one_line(said):
    try:
        int("no")
    except ValueError:
        structlog.get_logger("ours").exception("it fails")
    [line] = said()
    assert line["exception"][0]["exc_type"] == "ValueError"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_tells_no_secrets(said, form, monkeypatch):
    """Neither what variables held, nor an address in the error's own words."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.set_up(form, "info")

    def connect(password: str) -> None:
        raise ConnectionError(f"no answer from postgresql://andon:{password}@db/x")

    try:
        connect("2retnuh-in-a-variable"[6::-1])  # its line is shown, so it must not say it
    except ConnectionError:
        structlog.get_logger("ours").exception("it fails")
    assert "postgresql://andon:***@db/x" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_chatty_libraries_are_quiet(said):
    for name in ("pymodbus", "httpx", "uvicorn.access"):
        logging.getLogger(name).info("chatter")
    assert said() == []
