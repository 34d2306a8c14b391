"""Numbers of rows in addresses of pages: ``<row:number>``."""

from __future__ import annotations

from typing import Final

from flask import Flask
from werkzeug.routing import IntegerConverter, Map

LARGEST: Final = 2**31 - 1
"""No row's number is larger, and no database takes a larger one for such a number."""


class RowNumber(IntegerConverter):
    """A number that a row can have; what is larger is no page."""

    def __init__(self, rules: Map) -> None:
        super().__init__(rules, max=LARGEST)


def install(app: Flask) -> None:
    """Let the rules of ``app`` say ``<row:number>``."""
    app.url_map.converters["row"] = RowNumber
