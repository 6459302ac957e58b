"""Alarms: what is open, what people do about it, and the parts to be held."""

from typing import Annotated, Any, get_args

from fastapi import APIRouter, Path, Query

from app import alarm_acts
from app.alarm_acts import Conflict, Refused
from app.alarm_step import Step
from app.http import shapes
from app.http.characteristics import CharacteristicId, found
from app.http.commands import Command, IdempotencyKey, Said, Text, asked, once
from app.http.current import Current
from app.http.ports import Row, Service, Unit
from app.http.problem import Problem
from app.http.times import After, Limit, cursor, parsed, written
from app.store.batch import Alarm, AlarmState

OPEN = tuple(state for state in get_args(AlarmState) if state != "closed")
Number = Annotated[int, Path(ge=1, le=2**62, description="Id of the alarm.")]


class Act(Command):
    """Something that a person does with an alarm."""

    def step(self, alarm: Alarm, at: int) -> Step:
        """The alarm after this."""
        raise NotImplementedError


class Seen(Act):
    """I have seen it."""

    version: int
    """The alarm's version that was seen; another one by now is answered 409."""

    def step(self, alarm: Alarm, at: int) -> Step:
        """The alarm as seen."""
        return alarm_acts.acknowledge(alarm, self.version, self.who, at)


class Cause(Act):
    """Why it happened and what was done."""

    version: int
    cause: Said
    action: Text = ""
    note: Text = ""

    def step(self, alarm: Alarm, at: int) -> Step:
        """The alarm with its cause."""
        return alarm_acts.give_cause(
            alarm, self.version, self.who, at, cause=self.cause, action=self.action, note=self.note
        )


class Comment(Act):
    """A line in the alarm's history."""

    text: Said
    version: int | None = None

    def step(self, alarm: Alarm, at: int) -> Step:
        """The alarm with one more comment."""
        return alarm_acts.comment(alarm, self.version, self.who, at, self.text)


class Close(Act):
    """The end of what is no longer true."""

    version: int
    text: Text = ""

    def step(self, alarm: Alarm, at: int) -> Step:
        """The alarm as closed."""
        return alarm_acts.close(alarm, self.version, self.who, at, self.text)


class Shelve(Act):
    """Aside for a while."""

    version: int
    reason: Said
    until: str | None = None
    """ISO 8601; without it until the alarm returns to normal."""

    def step(self, alarm: Alarm, at: int) -> Step:
        """The alarm on the shelf."""
        until = parsed(self.until, "until")
        return alarm_acts.shelve(alarm, self.version, self.who, at, reason=self.reason, until=until)


class Unshelve(Act):
    """Back from the shelf."""

    version: int

    def step(self, alarm: Alarm, at: int) -> Step:
        """The alarm as it was before, and seen."""
        return alarm_acts.unshelve(alarm, self.version, self.who, at)


CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"description": "Somebody was first: `alarm` is what it is now, `first` who did what."},
    404: {"description": "No such alarm."},
}


routes = APIRouter(tags=["alarms"])


async def _done(service: Service, number: int, body: Act, key: str | None) -> Row:
    async def acted(unit: Unit) -> Row:
        alarm = await unit.alarm(number)
        if alarm is None:
            raise Problem(404, f"there is no alarm {number}")
        try:
            step = body.step(alarm, service.clock())
        except Conflict as conflict:
            first = await _first(service, number)
            shown = shapes.alarm(conflict.alarm)
            raise Problem(409, str(conflict), alarm=shown, first=first) from conflict
        except Refused as refused:
            raise Problem(409, str(refused), alarm=shapes.alarm(alarm)) from refused
        return shapes.alarm(unit.put_alarm(step.alarm, step.changes))

    return await once(service, key, asked(f"alarm {number} {type(body).__name__}", body), acted)


async def _first(service: Service, number: int) -> Row | None:
    """The newest line of the alarm's history: who, or what, was first."""
    history, _ = await service.records.alarm_history(number)
    if not history:
        return None
    newest = history[-1]
    return {name: newest[name] for name in ("who", "kind", "at", "text")}


@routes.get("/alarms", summary="List alarms, newest first")
async def list_alarms(
    service: Current,
    *,
    state: Annotated[
        str | None,
        Query(description="States, comma-separated; `open` is all but closed; default: open"),
    ] = None,
    characteristic: CharacteristicId = None,
    limit: Limit = 100,
    after: After = None,
) -> Row:
    """Continued with `after`; by default everything that is not closed."""
    states = _states(state)
    if characteristic is not None:
        characteristic = found(service, characteristic).name
    place = cursor(after, 1)
    rows = await service.records.alarms(
        states, characteristic, place[0] if place else None, limit + 1
    )
    more = len(rows) > limit
    return {
        "items": [shapes.alarm(row) for row in rows[:limit]],
        "next": written(rows[limit - 1].id) if more else None,
    }


@routes.get("/alarms/{number}", summary="One alarm with its history", responses=CONFLICT)
async def get_alarm(service: Current, number: Number) -> Row:
    """With every line of its history and the events that it collects."""
    alarm = await service.records.alarm(number)
    if alarm is None:
        raise Problem(404, f"there is no alarm {number}")
    history, events = await service.records.alarm_history(number)
    return {**shapes.alarm(alarm), "history": history, "events": events}


@routes.post("/alarms/{number}/acknowledge", summary="Say that it was seen", responses=CONFLICT)
async def acknowledge(
    service: Current, number: Number, body: Seen, idempotency_key: IdempotencyKey = None
) -> Row:
    """It stays visible while it is true; cause and action are a separate step."""
    return await _done(service, number, body, idempotency_key)


@routes.post("/alarms/{number}/cause", summary="Give cause and action", responses=CONFLICT)
async def give_cause(
    service: Current, number: Number, body: Cause, idempotency_key: IdempotencyKey = None
) -> Row:
    """Whoever gives the cause has seen it; an alarm that waited for its cause closes."""
    return await _done(service, number, body, idempotency_key)


@routes.post("/alarms/{number}/comment", summary="Add a comment", responses=CONFLICT)
async def comment(
    service: Current, number: Number, body: Comment, idempotency_key: IdempotencyKey = None
) -> Row:
    """A line in its history, also after its end."""
    return await _done(service, number, body, idempotency_key)


@routes.post("/alarms/{number}/close", summary="Close it", responses=CONFLICT)
async def close(
    service: Current, number: Number, body: Close, idempotency_key: IdempotencyKey = None
) -> Row:
    """Once it is back to normal, and has its cause where one is due."""
    return await _done(service, number, body, idempotency_key)


@routes.post("/alarms/{number}/shelve", summary="Put it aside", responses=CONFLICT)
async def shelve(
    service: Current, number: Number, body: Shelve, idempotency_key: IdempotencyKey = None
) -> Row:
    """For at most 12 hours, or until it returns to normal; something worse brings it back."""
    return await _done(service, number, body, idempotency_key)


@routes.post("/alarms/{number}/unshelve", summary="Bring it back", responses=CONFLICT)
async def unshelve(
    service: Current, number: Number, body: Unshelve, idempotency_key: IdempotencyKey = None
) -> Row:
    """Whoever brings it back has seen it."""
    return await _done(service, number, body, idempotency_key)


def _states(text: str | None) -> tuple[str, ...]:
    names = [name.strip() for name in (text or "open").split(",") if name.strip()]
    states: list[str] = []
    for name in names:
        if name == "open":
            states += OPEN
        elif name == "all":
            states += get_args(AlarmState)
        elif name in get_args(AlarmState):
            states.append(name)
        else:
            raise Problem(
                422, f'state: "{name}" is none of open, all, {", ".join(get_args(AlarmState))}'
            )
    return tuple(dict.fromkeys(states))
