"""The event types, their schemas and examples, and how new ones are added."""

import json
import shutil
from dataclasses import replace

import jsonschema_rs
import pytest

from notifications.catalogue import Catalogue
from notifications.errors import ConfigurationError, InvalidEvent
from notifications.events import Channel
from tests.event_samples import (
    CATALOGUE,
    MAILED,
    SCHEMAS,
    SHOWN,
    TEMPLATES,
    TYPES,
    event,
    example,
    minimal,
)

JOB_STATES = (
    "queued", "started", "progress", "succeeded", "failed", "retrying", "cancelled", "expired",
)  # fmt: skip
JOB_TYPES = {f"job.{state}" for state in JOB_STATES}
ALL_TYPES = JOB_TYPES | {
    "payment.received",
    "message.received",
    "budget.threshold",
    "endpoint.disabled",
    "webhook.test",
}


def errors(wrong) -> dict[str, str]:
    """What the catalogue finds wrong, by pointer."""
    with pytest.raises(InvalidEvent) as caught:
        CATALOGUE.check(wrong)
    return {error.pointer: error.detail for error in caught.value.errors}


def test_the_types_are_those_of_the_contract():
    """The catalogue holds the contract's types, sorted by name, and no other."""
    assert [found.name for found in CATALOGUE.types()] == sorted(ALL_TYPES)


def test_channels_are_those_of_the_contract():
    """All types but the test are shown, six are mailed, webhooks carry every type."""
    assert set(SHOWN) == ALL_TYPES - {"webhook.test"}
    assert set(MAILED) == {
        "job.succeeded",
        "job.failed",
        "job.expired",
        "payment.received",
        "budget.threshold",
        "endpoint.disabled",
    }
    assert all(Channel.WEBHOOK in CATALOGUE.channels(name) for name in ALL_TYPES)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_examples_are_whole_events(name):
    """Each example is an event once it has an id and a tenant, and its type's schema takes it."""
    sample = example(name)
    CATALOGUE.check(sample)
    assert sample.type == name
    assert (sample.job_id is not None) == (sample.job_type is not None) == name.startswith("job.")
    assert sample.data.get("jobType") == sample.job_type


@pytest.mark.parametrize("name", sorted(TYPES))
def test_only_what_is_required_is_enough(name):
    """An event that carries nothing optional is right."""
    CATALOGUE.check(minimal(name))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_field_of_nobody_s_is_refused(name):
    """A misspelt field is told of rather than ignored."""
    assert "/data/no~1such~0field" in errors(example(name, **{"no/such~field": 1}))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_required_fields_are_required(name):
    """An event without data is refused for each field that its type requires."""
    wrong = errors(event({**TYPES[name].example, "data": {}}))
    assert set(wrong) == {f"/data/{field}" for field in TYPES[name].schema["required"]}


@pytest.mark.parametrize("name", sorted(TYPES))
def test_own_values_have_a_place(name):
    """Every type takes the producer's own values in `metadata`."""
    CATALOGUE.check(example(name, metadata={"orderId": "42", "vip": True, "score": 0.5}))


def _unbounded(schema, at):
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "string" in kinds and "maxLength" not in schema and "enum" not in schema:
        yield f"{at}: maxLength"
    if {"integer", "number"} & set(kinds) and "maximum" not in schema:
        yield f"{at}: maximum"
    if "array" in kinds and "maxItems" not in schema:
        yield f"{at}: maxItems"
    if "object" in kinds:
        if schema.get("additionalProperties") is not False and "maxProperties" not in schema:
            yield f"{at}: additionalProperties"
        for name, each in schema.get("properties", {}).items():
            yield from _unbounded(each, f"{at}/{name}")
            if "$ref" not in each and not each.get("description"):
                yield f"{at}/{name}: description"
        yield from _unbounded(schema.get("additionalProperties"), f"{at}/*")
    for name, each in schema.get("$defs", {}).items():
        yield from _unbounded(each, f"{at}#{name}")


@pytest.mark.parametrize("name", sorted(TYPES))
def test_nothing_in_a_schema_is_without_bounds(name):
    """Every string, number, array and object has a bound, and every field a description."""
    schema = TYPES[name].schema
    assert list(_unbounded(schema, name)) == []
    assert schema["description"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:huntaze:event:{name}:v1"
    jsonschema_rs.meta.validate(schema)


def test_everything_that_is_wrong_is_named():
    """All errors come at once, each with its pointer and what would be right, never the value."""
    wrong = errors(
        example(
            "job.failed",
            jobType="SECRET Job",
            run=0,
            url="javascript:SECRET",
            title="SECRET" * 100,
            error={"code": "SECRET", "extra": 1},
            usage={"model": "", "inputTokens": "SECRET", "costUsd": -1},
            metadata={"SECRET name": "x"},
        )
    )
    assert wrong == {
        "/data/jobType": "must be lower-case words joined by dots, hyphens or underscores",
        "/data/run": "must be at least 1",
        "/data/url": "must be an http or https URL, or a path that begins with one slash",
        "/data/title": "must have at most 200 characters",
        "/data/error/code": "must be lower-case words joined by dots, hyphens or underscores",
        "/data/error/message": "required",
        "/data/error/extra": "not a field of this type; your own values go into /data/metadata",
        "/data/usage/model": "must have at least 1 character(s)",
        "/data/usage/inputTokens": "must be a whole number",
        "/data/usage/costUsd": "must be at least 0",
        "/data/usage/outputTokens": "required",
        "/data/usage/queueMs": "required",
        "/data/usage/runMs": "required",
        "/data/metadata": "names must be 1-64 characters of A-Z a-z 0-9 . _ -",
    }


def test_a_flood_of_errors_is_cut():
    """A thousand wrong fields do not make an answer of a thousand errors."""
    assert len(errors(example("webhook.test", **{f"x{n}": n for n in range(1000)}))) <= 50
    nested = {f"x{n}": [] for n in range(1000)}
    assert len(errors(example("webhook.test", metadata=nested))) <= 50


@pytest.mark.parametrize(
    ("given", "meant"),
    [("job.succeded", "job.succeeded"), ("pay.received", "payment.received")],
)
def test_a_misspelt_type_gets_a_hint(given, meant):
    """An unknown type is an error at /type that names the types it may have meant."""
    wrong = errors(replace(example("webhook.test"), type=given))
    assert list(wrong) == ["/type"]
    assert meant in wrong["/type"]


def test_a_type_like_no_other_gets_no_wrong_hint():
    """Where nothing is close the answer says where the types are listed."""
    assert errors(replace(example("webhook.test"), type="zzz")) == {
        "/type": "no such event type; see GET /v1/event-types"
    }
    with pytest.raises(InvalidEvent):
        CATALOGUE.channels("zzz")


@pytest.fixture
def schemas(tmp_path):
    """A copy of the schemas that a test may change."""
    shutil.copytree(SCHEMAS, tmp_path / "schemas")
    return tmp_path / "schemas"


def add_type(schemas, name, schema, document, version="v1"):
    """Add an event type as a person would: two files."""
    folder = schemas / "events" / name
    folder.mkdir(exist_ok=True)
    (folder / f"{version}.json").write_text(json.dumps(schema))
    (folder / f"{version}.example.json").write_text(json.dumps(document))


def sample_document(name, **data):
    """A whole event of a new type."""
    return {"specversion": "1.0", "source": "/x", "type": name, "data": data}


def test_a_folder_is_a_type(schemas):
    """Two files add a type; without templates it goes to webhooks alone."""
    add_type(schemas, "order.paid", {"required": ["n"]}, sample_document("order.paid", n=1))
    catalogue = Catalogue.load(schemas, TEMPLATES)
    catalogue.check(event(sample_document("order.paid", n=2)))
    assert catalogue.channels("order.paid") == {Channel.WEBHOOK}
    with pytest.raises(InvalidEvent):
        catalogue.check(event(sample_document("order.paid")))


def test_a_template_puts_a_type_on_a_channel(schemas, tmp_path):
    """A folder of templates is what makes a channel carry a type."""
    add_type(schemas, "order.paid", {}, sample_document("order.paid"))
    (tmp_path / "templates/toast/order.paid").mkdir(parents=True)
    assert Catalogue.load(schemas, tmp_path / "templates").channels("order.paid") == {
        Channel.WEBHOOK,
        Channel.REALTIME,
    }
    (tmp_path / "templates/email/order.paid").mkdir(parents=True)
    assert Catalogue.load(schemas, tmp_path / "templates").channels("order.paid") == set(Channel)


def test_an_older_version_is_still_taken(schemas):
    """Data of the last version stays right; what none takes is judged by the newest."""
    add_type(schemas, "order.paid", {"required": ["a"]}, sample_document("order.paid", a=1))
    add_type(schemas, "order.paid", {"required": ["b"]}, sample_document("order.paid", b=1), "v2")
    catalogue = Catalogue.load(schemas, TEMPLATES)
    (found,) = [each for each in catalogue.types() if each.name == "order.paid"]
    assert found.versions == ("v1", "v2")
    assert found.schema == {"required": ["b"]}
    catalogue.check(event(sample_document("order.paid", a=1)))
    catalogue.check(event(sample_document("order.paid", b=1)))
    with pytest.raises(InvalidEvent, match="/data/b"):
        catalogue.check(event(sample_document("order.paid", c=1)))


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("v1.json", "{", "not JSON"),
        ("v1.json", '{"type": "objekt"}', "not a JSON Schema"),
        ("v1.json", '{"pattern": "["}', "not a JSON Schema"),
        ("v1.json", '{"$ref": "https://example.com/schema"}', "not a JSON Schema"),
        ("v1.json", "[]", "must be a JSON object"),
        ("v1.json", None, "needs a v1.json"),
        ("v1.example.json", None, "No such file"),
        ("v1.example.json", '{"type": "other"}', '"type" must be "order.paid"'),
        ("v1.example.json", '{"type": "order.paid", "id": "1"}', '"id"'),
        ("v1.example.json", '{"type": "order.paid", "data": {}}', "/data/n: required"),
    ],
)
def test_a_broken_file_stops_the_start_by_name(schemas, file, content, says):
    """A schema or example that is wrong fails loading, with the file and what is wrong with it."""
    add_type(schemas, "order.paid", {"required": ["n"]}, sample_document("order.paid", n=1))
    path = schemas / "events/order.paid" / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        Catalogue.load(schemas, TEMPLATES)
    assert "order.paid" in str(caught.value)
    assert says in str(caught.value)


def test_no_folder_of_schemas_is_an_error(tmp_path):
    """A hub without its schemas does not start as one that knows no type."""
    with pytest.raises(ConfigurationError, match="events"):
        Catalogue.load(tmp_path, TEMPLATES)
