"""What models cost."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_workers.models.prices import Counts, PriceTable
from notifications.errors import ConfigurationError

TODAY = date(2026, 11, 26)
MILLION = 1_000_000
NANO = 1_000_000_000


def table(tmp_path: Path, models: str) -> PriceTable:
    """A table read from a file with these models."""
    path = tmp_path / "prices.json"
    path.write_text(f'{{"unit": "USD per million tokens", "models": {models}}}')
    return PriceTable.read(path)


@pytest.mark.parametrize(
    ("model", "counts", "usd"),
    [
        ("Phi-4-mini-instruct", Counts(input=MILLION, output=0), 0.075),
        ("Phi-4-mini-instruct", Counts(input=0, output=MILLION), 0.30),
        ("Phi-4-multimodal-instruct", Counts(input=MILLION, output=0, audio=MILLION), 4.0),
        ("Phi-4-multimodal-instruct", Counts(input=2 * MILLION, output=0, audio=MILLION), 4.08),
        ("DeepSeek-V4-Flash", Counts(input=MILLION, output=0, cached=MILLION), 0.028),
        ("DeepSeek-V3.2", Counts(input=MILLION, output=0, cached=MILLION), 0.58),
        ("deepseek-v4-pro", Counts(input=MILLION, output=MILLION), 5.22),
    ],
)
def test_the_list_prices_are_those_of_the_list(model: str, counts: Counts, usd: float) -> None:
    """A million tokens cost what the price list says, each kind its own price."""
    assert PriceTable.shipped().cost(model, counts, on=TODAY) == round(usd * NANO)


@given(
    st.builds(
        Counts,
        input=st.integers(0, 10**9),
        output=st.integers(0, 10**9),
        cached=st.integers(0, 10**10),
        audio=st.integers(0, 10**10),
    )
)
def test_parts_beyond_the_whole_cost_no_more_than_the_whole(counts: Counts) -> None:
    """An endpoint that counts more sound and cache than there is makes nothing negative or dearer
    than if all of it were sound."""
    cost = PriceTable.shipped().cost("Phi-4-multimodal-instruct", counts, on=TODAY)
    assert 0 <= cost <= counts.input * 4_000 + counts.output * 320


def test_a_price_holds_from_its_day_on(tmp_path: Path) -> None:
    """What was asked before a change keeps its price; before all of them the oldest holds."""
    prices = table(
        tmp_path,
        """{"m": [{"since": "2026-06-01", "input": 2, "output": 0},
                  {"since": "2026-01-01", "input": 1, "output": 0},
                  {"since": "2026-09-01", "input": 3, "output": 0}]}""",
    )
    one = Counts(input=1, output=0)
    days = [date(2025, 1, 1), date(2026, 5, 31), date(2026, 6, 1), date(2026, 8, 31), TODAY]
    assert [prices.cost("m", one, on=day) for day in days] == [1000, 1000, 2000, 2000, 3000]


def test_a_model_without_a_price_is_named() -> None:
    """Who configures a model that has no price is told which, before it is asked anything."""
    with pytest.raises(ConfigurationError, match=r"no price is known for ours-1: add it") as told:
        PriceTable.shipped().require(["Phi-4-mini-instruct", "ours-1"])
    assert "known: DeepSeek-R1, " in str(told.value)


@pytest.mark.parametrize(
    ("models", "complaint"),
    [
        ('{"m": [{"since": "soon", "input": 1, "output": 1}]}', "models/m/0/since: "),
        ('{"m": [{"since": "2026-01-01", "input": -1, "output": 1}]}', "models/m/0/input: "),
        ('{"m": [{"since": "2026-01-01", "input": 0.0001, "output": 1}]}', "models/m/0/input: "),
        ('{"m": [{"since": "2026-01-01", "input": 1}]}', "models/m/0/output: Field required"),
        ('{"m": [{"since": "2026-01-01", "input": 1, "output": 1, "x": 1}]}', "models/m/0/x: "),
        ('{"m": []}', "models/m: "),
        ("{}", "models: "),
        ('{"m": [1', "the file: Invalid JSON"),
        (
            (
                '{"m": [{"since": "2026-01-01", "input": 1, "output": 1},'
                '{"since": "2026-01-01", "input": 2, "output": 1}]}'
            ),
            "m has two prices since the same day",
        ),
        (
            (
                '{"m": [{"since": "2026-01-01", "input": 1, "output": 1}],'
                '"M": [{"since": "2026-01-01", "input": 1, "output": 1}]}'
            ),
            "M is there twice",
        ),
    ],
)
def test_a_wrong_file_is_told_where(tmp_path: Path, models: str, complaint: str) -> None:
    """The complaint names the file and the place in it."""
    with pytest.raises(ConfigurationError) as told:
        table(tmp_path, models)
    assert str(told.value).startswith(f"{tmp_path / 'prices.json'}: {complaint}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is in the message."""
    with pytest.raises(ConfigurationError, match=r"none\.json: No such file"):
        PriceTable.read(tmp_path / "none.json")
