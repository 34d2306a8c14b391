"""Holds what a command printed against the shape that is documented for it."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict


def deviations(value: Any, kind: Any, place: str = "") -> list[str]:
    """Return where a value from JSON is not of a type, field by field."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return deviations(value, parts[0], place)
    if origin in {Union, UnionType}:
        tried = [deviations(value, part, place) for part in parts]
        return [] if [] in tried else tried[0]
    if origin is Literal:
        return [] if value in parts else [f"{place}: {value!r}"]
    if is_typeddict(kind):
        hints = get_type_hints(kind, include_extras=True)
        if not isinstance(value, dict) or list(value) != list(hints):
            return [f"{place}: {value!r} has not the fields {list(hints)}"]
        return [found for name, hint in hints.items() for found in deviations(value[name], hint, f"{place}.{name}")]
    if origin is list:
        return [found for one in value for found in deviations(one, parts[0], f"{place}[]")]
    if origin is dict:
        return [found for one in value.values() for found in deviations(one, parts[1], f"{place}.*")]
    if kind is Any:
        return []
    accepted = (int, float) if kind is float else (kind,)
    return [] if type(value) in accepted else [f"{place}: {value!r} is no {kind}"]
