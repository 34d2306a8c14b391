"""What the commands of ``symbols`` print with ``--json``."""

from __future__ import annotations

from typing import Annotated, TypedDict


class Problem(TypedDict):
    """A bad row of a master contract."""

    row: Annotated[int, "its number; the header's is 1"]
    problem: Annotated[str, "what is wrong with it"]


class Imported(TypedDict):
    """What `symbols import` prints."""

    rows: Annotated[int, "how many instruments the new master has"]
    skipped: Annotated[int, "how many rows were left out"]
    seconds: Annotated[float, "how long it took"]
    version: Annotated[str, "the new master's number"]
    published: Annotated[bool | None, "whether the instances that share a server have it, too; null if none is shared"]
    problems: Annotated[list[Problem], "what is wrong with the rows left out, the first 1,000"]
    notes: Annotated[list[str], "what is not wrong, but worth saying"]


class OwnMaster(TypedDict):
    """The master that is served here."""

    version: Annotated[str, "its number"]
    rows: Annotated[int, "how many instruments it has"]
    imported_at: Annotated[float, "when it was imported"]
    source: Annotated[str, "the file on this machine that it came from; empty if it came from elsewhere"]
    file_bytes: Annotated[int, "the size of its file"]


class PublishedMaster(TypedDict):
    """The master that instances share."""

    serial: Annotated[int, "rises by one with each publication"]
    version: Annotated[str, "its number"]
    rows: Annotated[int, "how many instruments it has"]
    imported_at: Annotated[float, "when it was imported"]
    published_at: Annotated[float, "when it was published"]
    instance: Annotated[str, "who published it"]
    bytes: Annotated[int, "how much of the server it takes"]


class MasterStatus(TypedDict):
    """What `symbols status` and `symbols sync` print."""

    own: Annotated[OwnMaster | None, "the master that is served here"]
    shared: Annotated[bool, "whether instances share a server"]
    published: Annotated[PublishedMaster | None, "the master that they share"]
    in_step: Annotated[bool, "whether the two are the same, or nothing is shared"]


class Fields(TypedDict):
    """An instrument: the columns of the master contract, and what a derivative derives from."""

    symbol: Annotated[str, "OpenAlgo's symbol"]
    brsymbol: Annotated[str, "the broker's symbol"]
    name: Annotated[str, "the company's or the underlying's name"]
    exchange: Annotated[str, "OpenAlgo's exchange"]
    brexchange: Annotated[str, "the broker's exchange"]
    token: Annotated[str, "the broker's number for it"]
    expiry: Annotated[str, "`28-MAR-24`; empty where nothing expires"]
    strike: Annotated[float, "the strike price; 0 where there is none"]
    lotsize: Annotated[int, "units in a lot"]
    instrumenttype: Annotated[str, "`EQ`, `INDEX`, `FUT`, `CE`, `PE`, or what the broker says"]
    tick_size: Annotated[float, "the smallest step of the price"]
    contract_value: Annotated[float | None, "the value of one contract, where the exchange states it"]
    underlying: Annotated[str, "what a derivative derives from; else empty"]


class Searched(TypedDict):
    """What `symbols search` prints."""

    query: Annotated[str, "the terms"]
    exchange: Annotated[str | None, "the exchange that was asked for"]
    instruments: Annotated[list[Fields], "what was found, the best first"]
    more: Annotated[bool, "whether there are more than `--limit`"]


class Shown(TypedDict):
    """What `symbols show` prints."""

    symbol: Annotated[str, "the symbol that was asked for"]
    exchange: Annotated[str, "the exchange"]
    found: Annotated[bool, "whether there is such an instrument"]
    instrument: Annotated[Fields | None, "the instrument"]


class Generated(TypedDict):
    """What `symbols generate` prints."""

    file: Annotated[str, "the file"]
    rows: Annotated[int, "how many instruments it has"]
    seed: Annotated[int, "what they were drawn from"]
    bytes: Annotated[int, "the file's size"]
