"""What a call of the API brings: a small JSON object of texts, of which nothing is trusted."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

from flask import Request

LONGEST_TEXT: Final = 200


class RefusedCallError(Exception):
    """A call that is answered with an error.

    Attributes:
        status: The HTTP status.
        message: What is wrong; for a body with wrong fields a list for each of those.
    """

    def __init__(self, status: int, message: str | dict[str, list[str]]) -> None:
        super().__init__(status)
        self.status = status
        self.message = message


def read_texts(request: Request, required: Collection[str], optional: Collection[str] = ()) -> dict[str, str]:
    """Return the fields of a call's body, without blanks around them; optional ones that are missing are empty.

    Raises:
        RefusedCallError: The body is not what it should be.
    """
    body = _read_object(request)
    found, wrong = {}, {}
    for name in (*required, *optional):
        value = body.pop(name, None)
        text = "" if value is None else value.strip() if isinstance(value, str) else None
        if text is None:
            wrong[name] = ["must be a text"]
        elif not text and name in required:
            wrong[name] = ["is required"]
        elif len(text) > LONGEST_TEXT:
            wrong[name] = [f"has more than {LONGEST_TEXT} characters"]
        elif not text.isprintable():
            wrong[name] = ["has characters that cannot be printed"]
        else:
            found[name] = text
    for name in body:
        wrong[name[:LONGEST_TEXT] if name.isprintable() else "(unprintable)"] = ["is not a field of this call"]
    if wrong:
        raise RefusedCallError(400, wrong)
    return found


def _read_object(request: Request) -> dict[str, Any]:
    if not request.is_json:
        raise RefusedCallError(400, "The body must be JSON, and Content-Type must say application/json")
    try:
        body = json.loads(request.get_data().decode("utf-8"))
    except (ValueError, RecursionError):
        raise RefusedCallError(400, "The body is not JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise RefusedCallError(400, "The body must be a JSON object")
    return body
