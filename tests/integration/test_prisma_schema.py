"""The schema for Prisma, read by Prisma's own parser, against the database that it is of."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from ai_workers import tables
from notifications.shipped import SCHEMAS
from tests.node_packages import PRISMA, install, needs_node
from tests.postgres_server import migrated_database

SCHEMA = SCHEMAS / "prisma-jobs-schema.prisma"
TABLES = sorted(each.name for each in vars(tables).values() if isinstance(each, sa.Table))
"""The tables that the workers have: one that is new is missed until the schema has it."""

COLUMN_TYPES: Mapping[str, str] = {
    "BigInt": "bigint", "Boolean": "boolean", "Bytes": "bytea", "Float": "double precision",
    "Int": "integer", "Int SmallInt": "smallint", "Json": "jsonb", "Json Json": "json",
    "String": "text",
}  # fmt: skip
"""What Prisma's types are in PostgreSQL, those with a `@db` type named after both."""

COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable = 'YES'
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = ANY(%s)
"""
INDEXES = """
    SELECT t.relname, i.relname, x.indisprimary, x.indisunique,
        array_agg(a.attname ORDER BY k.place)
    FROM pg_index x
    JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_class t ON t.oid = x.indrelid
    CROSS JOIN unnest(x.indkey) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number
    WHERE t.relname = ANY(%s)
    GROUP BY 1, 2, 3, 4
"""


def column(table: str, name: str, kind: str, *, nullable: bool) -> str:
    """A column in words."""
    return f"{table}.{name} {kind}{' null' if nullable else ''}"


def index(table: str, kind: str, name: str, columns: list[str]) -> str:
    """An index in words; a primary key's name is nobody's concern."""
    named = "primary key" if kind == "id" else f"{kind} index {name}"
    return f"{table}: {named} ({', '.join(columns)})"


def parsed(schema: Path) -> set[str]:
    """What Prisma makes of a schema: every column and index, in words."""
    install(PRISMA)
    command = ["node", str(PRISMA / "models.mjs"), str(schema)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
    model: dict[str, Any] = json.loads(ended.stdout)["datamodel"]
    found: set[str] = set()
    of: dict[str, tuple[str, dict[str, str]]] = {}
    for each in model["models"]:
        names = {field["name"]: field.get("dbName") or field["name"] for field in each["fields"]}
        of[each["name"]] = each["dbName"], names
        for field in each["fields"]:
            native, arguments = field["nativeType"] or ("", [])
            prisma = f"{field['type']} {native}".strip() + f"({arguments})" * bool(arguments)
            kind = COLUMN_TYPES.get(prisma, prisma)
            name = names[field["name"]]
            found.add(column(each["dbName"], name, kind, nullable=not field["isRequired"]))
    for each in model["indexes"]:
        table, names = of[each["model"]]
        columns = [names[field["name"]] for field in each["fields"]]
        found.add(index(table, each["type"], each.get("dbName", ""), columns))
    return found


def migrated() -> set[str]:
    """The same of a database of this release."""
    with psycopg.connect(migrated_database()) as connection:
        found = {
            column(table, name, kind, nullable=nullable)
            for table, name, kind, nullable in connection.execute(COLUMNS, (TABLES,))
        }
        for table, name, primary, unique, columns in connection.execute(INDEXES, (TABLES,)):
            kind = "id" if primary else "unique" if unique else "normal"
            found.add(index(table, kind, name, columns))
    return found


@needs_node
def test_the_schema_for_prisma_is_the_database() -> None:
    """Tables, columns with type and nullability, keys and indexes: none more, none fewer."""
    schema, database = parsed(SCHEMA), migrated()
    differences = [f"only in the database: {each}" for each in sorted(database - schema)]
    differences += [f"only in {SCHEMA.name}: {each}" for each in sorted(schema - database)]
    if differences:
        pytest.fail("\n".join(["the schema for Prisma is not the database:", *differences]))


@needs_node
def test_a_schema_that_prisma_refuses_is_refused(tmp_path: Path) -> None:
    """The parser is Prisma's own: what is wrong by its rules does not pass as something else."""
    wrong = tmp_path / "wrong.prisma"
    wrong.write_text(SCHEMA.read_text().replace("@@id([tenantId, id])", "@@id([tenantId, nobody])"))
    with pytest.raises(AssertionError, match="nobody"):
        parsed(wrong)
