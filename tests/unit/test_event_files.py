"""Event files: three forms, read piece by piece; what is wrong is said with its place."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.cli import event_files
from notifications.cli.batches import batches
from notifications.cli.event_files import Entry, UnreadableFile, read_entries, with_attributes
from notifications.client.calls import MAX_BYTES, MAX_EVENTS
from notifications.errors import ConfigurationError

EVENTS = [
    {
        "id": f"é-{number}",
        "data": {"text": 'a "quoted" ] } \\ €', "n": [1.5, -3, True, None], "😀": {}},
    }
    for number in range(4)
]
FORMS = {
    "array": json.dumps(EVENTS),
    "array over lines": json.dumps(EVENTS, indent=1, ensure_ascii=False),
    "lines": "\n".join(json.dumps(event) for event in EVENTS),
    "lines with gaps": "\n\n".join(json.dumps(event) for event in EVENTS) + "\n \n",
    "lines of another system": "\r\n".join(json.dumps(event) for event in EVENTS) + "\r\n",
}


def entries(content: str | bytes) -> list[Entry]:
    stream = content.encode() if isinstance(content, str) else content
    return list(read_entries(io.BytesIO(stream)))


def read(content: str | bytes, **given: str | None) -> list[Any]:
    wanted = {"tenant_id": None, "event_id": None} | given
    stream = content.encode() if isinstance(content, str) else content
    found = with_attributes(read_entries(io.BytesIO(stream)), **wanted)
    return [json.loads(entry.text) for entry in found]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_form_gives_the_same_events(form: str):
    """An array and JSON lines are two ways of writing the same events."""
    assert read(form) == EVENTS
    assert [entry.label for entry in entries(form)] == [event["id"] for event in EVENTS]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_how_a_file_is_cut_into_chunks_changes_nothing(form: str, monkeypatch):
    """Wherever reading stops in between, in a string, a number or a character, it goes on."""
    for size in range(1, 120):
        monkeypatch.setattr(event_files, "CHUNK", size)
        assert read(form) == EVENTS


@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_may_be_one_event(indent: int | None):
    """One event, on one line or over many, as the examples of the schemas are."""
    assert read(json.dumps(EVENTS[0], indent=indent) + "\n") == [EVENTS[0]]


@pytest.mark.parametrize("content", ["", " \n\t\r\n", "[]", "[ \n ]", "\ufeff"])
def test_a_file_may_hold_nothing(content: str):
    """No event is no error here: the command says so."""
    assert entries(content) == []


def test_a_byte_order_mark_is_passed_over():
    """Editors of another system put one there."""
    assert read(b"\xef\xbb\xbf" + json.dumps(EVENTS).encode()) == EVENTS


def test_events_keep_their_very_text():
    """What the publisher wrote is sent: no number is rounded, no key reordered, no space lost."""
    text = '{"b" : 1.10, "a":123456789012345678901234567890,"a" :"\\u00e9"}'
    assert [entry.text for entry in entries(f"[{text}]")] == [text]
    assert [entry.text for entry in entries(f"{text}\n")] == [text]


def test_a_line_that_is_no_json_is_an_entry_that_says_so():
    """One broken line among many keeps none of the others from being read."""
    found = entries('{"id":"a"}\nnope\n{"id":"c","n":NaN}\n7\n{"id":"e"}')
    assert [(entry.label, entry.wrong) for entry in found] == [
        ("a", None),
        ("line 2", "not JSON at column 1: Expecting value"),
        ("c", "not JSON: NaN"),
        ("line 4", "an event is a JSON object"),
        ("e", None),
    ]


@pytest.mark.parametrize(
    ("content", "before", "said"),
    [
        ('[{"id":"a"} {"id":"b"}]', 1, "line 1: , is missing"),
        ('[{"id":"a"},\n{"id":\nb}]', 1, "line 3: Expecting value"),
        ('[{"id":"a"},', 1, "line 1: Expecting value"),
        ('[{"id":"a"}', 1, "line 1: , is missing"),
        ('[{"id":"a"}]\n\n[]', 1, "line 3: something follows"),
        ('{"id":\n"a"', 0, "line 2: Expecting ',' delimiter"),
        ('{"id":\n"a"} {}', 1, "line 2: something follows"),
        ('["' + "x" * 100, 0, "line 1: Unterminated string"),
        (b'[{"id":"\xff"}]', 0, "line 1: not UTF-8 (invalid start byte)"),
        (b'{"id":"a"}\n{"id":"b"}\n{"id":"\xc3"}\n', 2, "line 3: not UTF-8"),
        (b'\xef\xbb\xbf[{"id":"a"},\n{"id":"b"},\xe2\x82', 2, "line 2: not UTF-8 (unexpected end"),
        ("[" * 50_000, 0, "line 1: nested too deep"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_where_an_array_stops_being_json_is_said(content: str | bytes, before: int, said: str):
    """What came before the place is read; the place and the reason are named."""
    found = read_entries(io.BytesIO(content.encode() if isinstance(content, str) else content))
    for _ in range(before):
        next(found)
    with pytest.raises(UnreadableFile) as raised:
        next(found)
    assert str(raised.value).startswith("not JSON at ")
    assert said in str(raised.value)


def test_a_large_file_is_never_held_whole():
    """Reading far ahead of what is asked for would fill the memory."""
    event = json.dumps({"id": "a", "data": {"text": "x" * 1000}}).encode()
    stream = io.BytesIO(b"[" + b",".join([event] * 20_000) + b"]")
    found = read_entries(stream)
    for _ in range(10):
        next(found)
    assert stream.tell() <= 2 * event_files.CHUNK


def test_an_endless_event_is_given_up():
    """A file without an end in sight is not read into memory."""

    class Endless(io.RawIOBase):
        read_bytes = 0

        def read(self, size: int = -1) -> bytes:
            self.read_bytes += size
            return b'["' + b"x" * size if self.read_bytes == size else b"x" * size

    stream = Endless()
    with pytest.raises(UnreadableFile, match="over 8 MiB"):
        next(read_entries(stream))
    assert stream.read_bytes < 2 * event_files.MAX_TEXT


@pytest.mark.parametrize(
    ("content", "given", "events"),
    [
        ("{}", {"event_id": "e", "tenant_id": "t"}, [{"id": "e", "tenantid": "t"}]),
        ('{ "type": "x" }', {"event_id": "e"}, [{"id": "e", "type": "x"}]),
        ('{"id":"own"}', {"event_id": "e"}, [{"id": "own"}]),
        ('[{"tenantid":"own"},{}]', {"tenant_id": "t"}, [{"tenantid": "own"}, {"tenantid": "t"}]),
    ],
)
def test_what_events_lack_is_filled_in_and_nothing_else(content, given, events):
    """`--tenant` and `--id` complete events, and never overrule what they say."""
    assert read(content, **given) == events


def test_an_id_is_for_one_event():
    """Two events cannot have one id: nothing is sent."""
    with pytest.raises(ConfigurationError, match="this one has several"):
        read("{}\n{}", event_id="e")


@given(st.lists(st.integers(min_value=1, max_value=MAX_BYTES // 2), max_size=30))
def test_batches_fit_a_request_and_lose_nothing(sizes: list[int]):
    """Whatever the events' sizes, every request is one that the hub takes, in order."""
    whole = [
        Entry(label=str(place), text="x" * (size % 500_000)) for place, size in enumerate(sizes)
    ]
    made = list(batches(whole))
    assert [entry for batch in made for entry in batch] == whole
    for batch in made:
        assert len(batch) <= MAX_EVENTS
        assert len(b"[" + b",".join(entry.text.encode() for entry in batch) + b"]") <= MAX_BYTES


def test_a_batch_is_filled_up_to_the_byte():
    """The last event that fits goes along; the next one begins a request of its own."""
    quarter = (MAX_BYTES - 5) // 4  # two brackets and three commas
    fitting = [Entry(label="a", text="x" * quarter)] * 4
    assert [len(batch) for batch in batches(fitting)] == [4]
    over = [*fitting[:3], Entry(label="b", text="x" * (quarter + 4))]
    assert [len(batch) for batch in batches(over)] == [3, 1]


def test_a_batch_has_at_most_a_thousand_events():
    """The hub takes a thousand at once."""
    made = list(batches(Entry(label="a", text="{}") for _ in range(2_500)))
    assert [len(batch) for batch in made] == [1_000, 1_000, 500]
