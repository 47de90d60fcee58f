"""`make bench`: what it makes of its rows."""

import sys
from pathlib import Path

import orjson
import pytest
from PIL import Image

BENCH = Path(__file__).parent.parent.parent / "bench"


@pytest.fixture
def bench(monkeypatch):
    """The modules `rows` and `run`, found as they find each other."""
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)
    import rows
    import run

    yield rows, run
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BENCH:
            del sys.modules[name]


def test_a_run_makes_a_table_a_file_and_a_picture_of_its_rows(bench, tmp_path):
    """Each row is a line of the table, an object in the JSON and a bar of the picture; a bench that
    fails is a row without a value, and the others are measured all the same."""
    rows, run = bench
    good = rows.Row(name="fast", value=12_345.0, unit="a second", at_least=10_000, limited_by="hub")
    slow = rows.Row(name="slow", value=7.25, unit="ms", at_most=5, limited_by="disk", tried="more")

    def broken(_: object) -> list[object]:
        raise TimeoutError("nobody came")

    found, whole = run.run(
        {"a": lambda _: [good], "broken": broken, "b": lambda _: [slow]},
        rows.Options(quick=True),
        tmp_path,
    )

    assert not whole
    assert rows.table(found).splitlines() == [
        "row      value  unit          goal           limited by",
        "fast    12,345  a second  ≥ 10,000  met      hub",
        "broken       -                      NOT MET  not measured: TimeoutError: nobody came",
        "slow      7.25  ms             ≤ 5  NOT MET  1.45 times the goal, tried: more; disk",
    ]
    written = orjson.loads((tmp_path / "results.json").read_bytes())["rows"]
    assert written[0] == {
        "name": "fast",
        "value": 12_345.0,
        "unit": "a second",
        "goal": 10_000,
        "met": True,
        "limitedBy": "hub",
    }
    assert [(row["value"], row["met"]) for row in written[1:]] == [(None, False), (7.25, False)]
    with Image.open(tmp_path / "results.png") as picture:
        assert picture.format == "PNG"
        colours = {colour for _, colour in picture.getcolors(maxcolors=1 << 20)}
    assert {(0x2F, 0x8F, 0x5B), (0xC8, 0x50, 0x2E)} <= colours, (
        "one bar that meets, one that misses"
    )
