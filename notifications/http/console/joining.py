"""How others join the console: with pages of their own, and a place in its navigation."""

from dataclasses import dataclass

from fastapi import FastAPI
from starlette.routing import Route

from notifications.http.console.guard import NOWHERE, Pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the console that the hub itself does not know.

    Attributes:
        name: What `nav.<name>` of the console's words calls, e.g. `jobs`.
        path: Its first page, below `/console`, e.g. `/jobs`.
        pages: All of them.
    """

    name: str
    path: str
    pages: Pages


def join(app: FastAPI, section: Section) -> None:
    """Serve a section's pages, guarded like all others, and lead to them from every page."""
    routes = app.router.routes
    # What is below /console and nowhere is refused by the last of the console's own routes.
    ends = [
        place
        for place, route in enumerate(routes)
        if isinstance(route, Route) and route.path == NOWHERE
    ]
    at = ends[0] if ends else len(routes)
    routes[at:at] = section.pages.routes
    known = getattr(app.state, "console_sections", ())
    app.state.console_sections = (*known, (section.name, section.path))
