"""Validation errors as sentences: where, what is wrong, what to do."""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from app.spelling import nearest

SHOWN = 80
_IN_TOML = {
    "model_type": "write a table, { key = value }",
    "model_attributes_type": "write a table, { key = value }",
    "dict_type": "write a table, { key = value }",
    "tuple_type": "write a list, [ ... ]",
    "list_type": "write a list, [ ... ]",
    "path_type": "write a path in quotes",
}
"""Where pydantic names its own types: what the file should have there."""
Place = Sequence[str | int]


def explain(error: ValidationError, model: type[BaseModel], where: str) -> list[str]:
    """One sentence per mistake; ``where`` names the table that was being read."""
    sentences = []
    mistakes = error.errors(include_url=False)
    for mistake in mistakes:
        place = [*mistake["loc"]]
        if mistake["type"] == "too_short" and any(
            other["loc"][: len(place)] == mistake["loc"] and other is not mistake
            for other in mistakes
        ):
            continue  # what it holds is wrong itself, and told so
        if mistake["type"] == "extra_forbidden":
            name = str(place.pop())
            said = f'unknown key "{name}"{nearest(name, known_keys(model, place))}'
        elif mistake["type"] == "missing":
            said = "is missing; add it"
        else:
            said = _said(mistake["msg"], mistake["type"], mistake["input"])
        path = written([*_keys_only(place)])
        sentences.append(f"{where}: {path}: {said}" if path else f"{where}: {said}")
    return sentences


def written(place: Place) -> str:
    """A path as people write it: ``subscription[1].topic``, counted from 1."""
    path = ""
    for part in place:
        path += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def known_keys(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that the table at ``place`` may have, as far as they can be told."""
    here: Any = model
    for part in place:
        found = _models(here)
        if isinstance(part, int) or not found:
            continue
        fields = {
            name: field.annotation
            for one in found
            for key, field in one.model_fields.items()
            for name in (key, field.alias)
            if name
        }
        here = fields.get(part, here)
    return sorted(
        {field.alias or key for one in _models(here) for key, field in one.model_fields.items()}
    )


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models inside an annotation: of a list's items, of a union's members."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType, list, tuple, dict):
        return [one for part in get_args(annotation) for one in _models(part)]
    return []


def _keys_only(place: Place) -> Iterator[str | int]:
    """Without the names that pydantic adds for a union's members and for functions."""
    for part in place:
        if isinstance(part, int) or not (part[:1].isupper() or "[" in part or "(" in part):
            yield part


def _said(message: str, kind: str, value: object) -> str:
    if kind in ("value_error", "assertion_error"):
        return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    said = _IN_TOML.get(kind) or message[:1].lower() + message[1:]
    if isinstance(value, dict | list | SecretStr) or value is None:
        return said
    shown = repr(value)
    return f"{said}, not {shown if len(shown) <= SHOWN else shown[:SHOWN] + '...'}"
