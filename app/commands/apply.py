"""andon apply: through the running service when there is one, else straight to the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.text import Text

from app import apply
from app.clock import wall_clock
from app.commands import place
from app.commands.database import database
from app.commands.failure import Failed
from app.http.screen import build
from app.logs import set_up
from app.opening import Opening
from app.plantfile import Plant, load_plant
from app.service import Service
from app.settings import Settings
from app.store.batch import Batch
from app.store.errors import AlreadyWriting, StoreError, StoreRefused
from app.unit import Unit

ANSWER_S = 60.0
MARKS = {
    "create": ("+", "green"),
    "restore": ("+", "green"),
    "version": ("~", "yellow"),
    "change": ("~", "yellow"),
    "drift": ("!", "magenta"),
    "retire": ("-", "red"),
}


class Unanswered(Failed):
    """Nobody answers at the address of the service."""


async def run_apply(
    settings: Settings, path: Path, *, dry_run: bool, who: str, url: str | None, out: Console
) -> None:
    """Tell what differs, then make it so.

    Raises:
        PlantInvalid: the file is wrong; nothing was changed.
        Failed: neither service nor database could be reached, or one refused.
    """
    set_up("auto", "critical")  # what is amiss is told in one sentence, by whom it stops
    plant = load_plant(path)
    try:
        if url is not None:
            plan = await _through_service(settings, path, url, dry_run=dry_run, who=who)
        else:
            plan = await _alone(settings, plant, dry_run=dry_run, who=who)
    except AlreadyWriting as holder:
        scheme = "https" if settings.tls_cert else "http"
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
        url = f"{scheme}://{host}:{settings.port}"
        try:
            plan = await _through_service(settings, path, url, dry_run=dry_run, who=who)
        except Unanswered as error:
            raise Failed(f"{holder}, or say with --url where it answers: {error}") from error
    except StoreError as error:
        raise Failed(str(error)) from error
    show(plan, out, dry_run=dry_run)


def show(plan: dict[str, Any], out: Console, *, dry_run: bool) -> None:
    """Print a plan, one line a step."""
    acting = [step for step in plan["steps"] if step["kind"] != "drift"]
    for step in plan["steps"]:
        mark, colour = MARKS[step["kind"]]
        of = next(key for key in step if key not in ("kind", "sentence"))
        what = step[of] if of == "characteristic" else f"{of} {step[of]}"
        line = Text.assemble((f"{mark} {step['kind']:<8}", colour), f"{what}: {step['sentence']}")
        out.print(line, soft_wrap=True)
    drift = len(plan["steps"]) - len(acting)
    told = f"{len(acting)} to change, {drift} drifted, {plan['unchanged']} unchanged."
    done = "Nothing was changed." if dry_run else "Applied." if acting else "Nothing to do."
    out.print(f"{told} {done}", soft_wrap=True)


async def _through_service(
    settings: Settings, path: Path, url: str, *, dry_run: bool, who: str
) -> dict[str, Any]:
    headers = {}
    if settings.access_token is not None:
        headers["Authorization"] = f"Bearer {settings.access_token.get_secret_value()}"
    try:
        async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
            answer = await client.post(
                f"{url.rstrip('/')}/api/v1/plant",
                params={"dry_run": dry_run},
                json={"who": who, **_sent(path)},
                headers=headers,
            )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unanswered(
            f"no Andon answers at {url} ({str(error) or type(error).__name__})"
        ) from error
    kind = answer.headers.get("content-type", "")
    document: dict[str, Any] = answer.json() if "json" in kind else {}
    if answer.status_code != httpx.codes.OK:
        raise Failed(f"{url}: {document.get('detail', f'answered {answer.status_code}')}")
    return document


def _sent(path: Path) -> dict[str, str]:
    return {"text": path.read_text(encoding="utf-8"), "base_dir": str(path.resolve().parent)}


async def _alone(settings: Settings, plant: Plant, *, dry_run: bool, who: str) -> dict[str, Any]:
    """Plan and apply as the one writer; nothing else runs meanwhile."""
    async with _stores(settings) as service:
        opening = Opening(service)
        if dry_run:
            try:
                await service.store.open()
                await opening.load()
            except AlreadyWriting:
                raise
            except StoreRefused:
                pass  # no tables yet: everything in the file is new
            return apply.plan(plant, service.catalog).document()
        if not await opening.try_once() or service.journal.away:
            raise Failed(f"the database is away: {'; '.join(service.why_not)}")
        plan = apply.plan(plant, service.catalog)
        await _write(service, plant, plan, who)
        return plan.document()


async def _write(service: Service, plant: Plant, plan: apply.Plan, who: str) -> None:
    batch = Batch(id=service.journal.last + 1, at=service.clock())
    unit = Unit(batch, service.catalog, service.alarms, service.highest, service.records.alarm)
    newest = {
        entry.name: await service.records.newest_reading(service.catalog.streams_of(entry.id))
        for entry in service.catalog.characteristics.values()
    }
    by = apply.Author(who, batch.at, apply.APPLIED)
    apply.rows(plan.steps, service.catalog, batch, number=unit.number, newest=newest, by=by)
    unit.put_plant(plant)
    await service.journal.write_directly(batch)


@asynccontextmanager
async def _stores(settings: Settings) -> AsyncIterator[Service]:
    """The stores of a service that is not running."""
    place.make(settings.data_dir)
    service = Service(settings.model_copy(update={"plant": None}), wall_clock, build())
    await asyncio.to_thread(service.spool.open)
    try:
        await asyncio.to_thread(service.aside.open)
        async with database(settings):
            try:
                yield service
            finally:
                await service.store.close()
    finally:
        await service.stop()
