"""The stream of changes that an open page listens to."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cryodaq.errors import LogbookUnreachableError
from cryodaq.ledger.gallery import experiment_of_movie
from cryodaq.ledger.samples import find_sample
from cryodaq.web.live import LiveFeed
from cryodaq.web.rendering import ELOGBOOK
from cryodaq.web.visitors import Visitor, find_visitor, ledger_of

router = APIRouter()
_OPEN_TOPICS = frozenset({"board", "alarms", ELOGBOOK})
_MAX_ID = 2**62


@router.get("/live")
async def follow(
    request: Request, topic: str = Query(max_length=60), since: int | None = Query(default=None, ge=0, le=_MAX_ID)
) -> Response:
    """Stream one topic's changes; the data never holds more than the topic's name."""
    if not await asyncio.to_thread(_may_follow, request, topic):
        return Response(status_code=204)  # tells the browser not to come back

    async def still_allowed() -> bool:
        try:
            return await asyncio.to_thread(_may_follow, request, topic)
        except LogbookUnreachableError:
            return True  # nothing but topic names is told; the pages themselves ask again

    feed: LiveFeed = request.app.state.live
    stream = feed.stream(topic, since=_last_seen(request, since), still_allowed=still_allowed)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


def _last_seen(request: Request, since: int | None) -> int | None:
    """Return the event that the browser saw last; on a reconnect it says so itself."""
    told = request.headers.get("last-event-id", "")
    return int(told) if told.isascii() and told.isdecimal() and len(told) < 19 else since


def _may_follow(request: Request, topic: str) -> bool:
    who = find_visitor(request)
    if who is None:
        return False
    return topic in _OPEN_TOPICS or _may_read(request, topic, who)


def _may_read(request: Request, topic: str, who: Visitor) -> bool:
    engine = ledger_of(request)
    kind, _, number = topic.partition(":")
    experiment = None
    with engine.connect() as connection:
        if kind == "sample":
            sample = find_sample(connection, number)
            experiment = None if sample is None else sample.experiment
        elif kind == "movie" and number.isascii() and number.isdecimal() and len(number) < 19:
            experiment = experiment_of_movie(connection, int(number))
    return experiment is not None and who.may_read(experiment)
