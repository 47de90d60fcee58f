"""How counts read to Prometheus."""

from notifications.http.exposition import Family, Histogram, Series


def test_a_large_count_is_written_to_its_last_digit() -> None:
    """A counter that grows by one is seen to grow, whatever it stands at."""
    text = Family("events", "counter", "Events.", (({"outcome": "a"}, 12_345_678.0),)).text()
    assert text == '# HELP events Events.\n# TYPE events counter\nevents{outcome="a"} 12345678\n'


def test_a_bucket_counts_all_that_is_below_its_end() -> None:
    """Buckets add up from the lowest; the last has all."""
    series = Series({"type": 'a"b'}, (1, 2, 4), 7.5)
    lines = Histogram("runs", "Runs.", (0.5, 1.0), (series,)).text().splitlines()
    assert lines[1:] == [
        "# TYPE runs histogram",
        'runs_bucket{type="a\\"b",le="0.5"} 1',
        'runs_bucket{type="a\\"b",le="1"} 3',
        'runs_bucket{type="a\\"b",le="+Inf"} 7',
        'runs_sum{type="a\\"b"} 7.5',
        'runs_count{type="a\\"b"} 7',
    ]
