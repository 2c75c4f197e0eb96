"""Turns a template and its values into an answer: a whole page, or only its middle for a live update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse

from cryodaq.web.visitors import Visitor

if TYPE_CHECKING:
    from jinja2 import Environment

FRAGMENT_HEADER = "x-fragment"
ELOGBOOK = "elogbook"
"""The topic of pages that show what the elogbook keeps, which tells no changes: their script looks again often."""
LOOK_AGAIN_S = 5


def wants_fragment(request: Request) -> bool:
    """Whether the page's own script asks, which needs the middle only and follows no redirects."""
    return FRAGMENT_HEADER in request.headers


def render(
    request: Request,
    template: str,
    *,
    visitor: Visitor | None,
    topic: str | None = None,
    since: int | None = None,
    status: int = 200,
    values: dict[str, object] | None = None,
) -> HTMLResponse:
    """Render a template.

    Parameters
    ----------
    topic
        What the page listens to for changes; None for a page that never changes.
    since
        The newest event when the page's values were read.
    """
    environment: Environment = request.app.state.templates
    text = environment.get_template(template).render(
        base="fragment.html" if wants_fragment(request) else "page.html",
        visitor=visitor,
        path=request.url.path,
        live_topic=topic,
        live_since=since,
        look_again_s=LOOK_AGAIN_S if topic == ELOGBOOK else None,
        **(values or {}),
    )
    return HTMLResponse(text, status_code=status, headers={"vary": f"cookie, {FRAGMENT_HEADER}"})
