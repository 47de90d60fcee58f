"""When a tenant's people are told of what its jobs cost, and what they are told."""

from dataclasses import replace

import pytest

from ai_workers.budgets import Standing, crossed, month_of, patience_s, refusal, told_of
from notifications.directory import Locale, User
from notifications.rendering import Renderer
from notifications.shipped import TEMPLATES, load_catalogue

BUDGET = 50_000_000_000
HALF = Standing(
    tenant_id="acme", month="2026-03", spent=BUDGET // 2, told=0, budget=BUDGET, refuses=False
)
MARCH = 1_772_323_200_000
"""The first of March 2026, midnight in UTC."""


@pytest.mark.parametrize(
    ("spent", "told", "shares"),
    [
        (0, 0, []),
        (BUDGET // 2 - 1, 0, []),
        (BUDGET // 2, 0, [50]),
        (BUDGET // 2, 50, []),
        (BUDGET * 4 // 5 - 1, 50, []),
        (BUDGET * 4 // 5, 50, [80]),
        (BUDGET - 1, 80, []),
        (BUDGET, 80, [100]),
        (BUDGET * 3, 0, [50, 80, 100]),
        (BUDGET * 3, 100, []),
        (BUDGET // 2, 100, []),
    ],
)
def test_a_share_is_told_of_when_it_is_reached_and_not_again(
    spent: int, told: int, shares: list[int]
) -> None:
    """To the billionth of a dollar; several at once each for itself."""
    assert crossed(replace(HALF, spent=spent, told=told)) == shares


@pytest.mark.parametrize("share", [50, 80, 100])
def test_what_is_told_is_an_event_of_its_type_that_people_can_read(share: int) -> None:
    """It is right by the schema, goes to the owners, and makes a mail in both languages."""
    event = told_of(replace(HALF, spent=10**18, refuses=True), share, MARCH)
    load_catalogue().check(event)
    assert (event.id, event.user_id) == (f"budget.2026-03.{share}", None)
    renderer = Renderer(TEMPLATES, app_url=None)
    for locale, word in ((Locale.EN, "budget"), (Locale.FR, "budget")):
        toast = renderer.toast(event, User(tenant_id="acme", id="ada", locale=locale))
        assert word in toast.title.lower()


def test_only_a_tenant_that_wants_it_is_refused() -> None:
    """At the very amount, and with the amount in the reason."""
    spent = replace(HALF, spent=BUDGET)
    assert not spent.refusing
    assert replace(spent, refuses=True).refusing
    assert not replace(spent, refuses=True, spent=BUDGET - 1).refusing
    assert "2026-03, 50 US dollars, is spent" in refusal(spent).message


@pytest.mark.parametrize(
    ("ms", "month", "seconds"),
    [
        (MARCH - 1, "2026-02", 0.001),
        (MARCH, "2026-03", 3_600),
        (1_767_225_600_000 - 60_000, "2025-12", 60),
    ],
)
def test_a_month_is_a_calendar_month_in_utc(ms: int, month: str, seconds: float) -> None:
    """To the millisecond; who is refused is sent to its end, or an hour on."""
    assert month_of(ms) == month
    assert patience_s(ms) == pytest.approx(seconds)
