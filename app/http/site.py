"""What holds for the whole plant: its name and zone, its configuration, a test of its announcements."""

import asyncio
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.websockets import WebSocket

from app import apply
from app.http.characteristics import put_steps
from app.http.commands import Command, IdempotencyKey, Text, asked, once
from app.http.current import Current
from app.http.ports import Row, Unit
from app.http.problem import Problem
from app.plantfile import PlantInvalid, parse_plant

PLANT_BYTES = 4 * 1024 * 1024

routes = APIRouter(tags=["plant"])
socket = APIRouter()


class PlantText(Command):
    """A plant file."""

    text: Annotated[str, Field(max_length=PLANT_BYTES)]
    """TOML, as in plant.toml."""
    base_dir: Text
    """Folder that the files it names (passwords, certificates) count from, on the server."""
    reason: Text = apply.APPLIED


class TestMessage(Command):
    """Which channel to test."""

    channel: Text | None = None
    """Its id; without it all of them."""


@routes.get("/site", summary="The plant")
async def site(service: Current) -> Row:
    """What a screen needs before anything else."""
    plant = service.plant
    return {
        "name": plant.name,
        "timezone": plant.timezone,
        "locale": plant.locale,
        "build": service.build,
        "causes": plant.causes,
        "actions": plant.actions,
        "second_person": plant.second_person,
    }


@routes.post("/plant", summary="Apply a plant file")
async def apply_plant(
    service: Current,
    body: PlantText,
    *,
    dry_run: Annotated[bool, Query(description="Only tell what would change.")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Row:
    """The plan, and its steps done; limits that differ are told as drift and left as they are."""
    try:
        # A large file takes seconds; the plan, made of the catalog as it is, stays on the loop.
        plant = await asyncio.to_thread(parse_plant, body.text, base_dir=Path(body.base_dir))
    except PlantInvalid as error:
        raise Problem(422, error.sentences[0], errors=error.sentences) from error
    if dry_run:
        return {**apply.plan(plant, service.catalog).document(), "applied": False}

    async def act(unit: Unit) -> Row:
        plan = apply.plan(plant, service.catalog)
        by = apply.Author(body.who, service.clock(), body.reason)
        await put_steps(service, unit, plan.steps, by)
        unit.put_plant(plant)
        return {**plan.document(), "applied": True}

    return await once(service, idempotency_key, asked("plant", body), act)


@routes.post("/announce/test", summary="Send a test announcement")
async def announce_test(service: Current, body: TestMessage) -> Row:
    """At once and past the outbox: whether each channel took it, and what it said."""
    found = await service.announce_test(body.channel)
    if body.channel is not None and not found:
        raise Problem(404, f'no announcements leave by "{body.channel}"')
    return {"items": found, "next": None}


@socket.websocket("/live")
async def live(service: Current, websocket: WebSocket) -> None:
    """Points and alarms as they come; subprotocol andon.v1."""
    await service.live.endpoint(websocket)
