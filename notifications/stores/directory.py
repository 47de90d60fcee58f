"""Users, endpoints and API keys in SQL. Implements `ports.Directory`, `Registry`,
`EndpointRegistry` and `Keys`.

The channels ask before every attempt, so answers are kept for `FRESH_MS`; what this process
changes itself is forgotten at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Generic, TypeVar

import orjson
import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.deliveries import webhook_lane
from notifications.directory import (
    Endpoint,
    EndpointState,
    Role,
    SigningSecret,
    User,
)
from notifications.errors import ConfigurationError
from notifications.ports import Clock
from notifications.records import ApiKey
from notifications.stores import codes, orphans, switching, tables
from notifications.stores.standing import note_resumed
from notifications.stores.turns import has_room
from notifications.vault import SETTING, Vault

FRESH_MS = 5_000
_CACHE_SIZE = 20_000

V = TypeVar("V")


class Cache(Generic[V]):
    """Answers of the last five seconds, by key; bounded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: dict[object, tuple[int, V]] = {}

    def get(self, key: object) -> tuple[bool, V | None]:
        """Whether there is a fresh answer, and the answer."""
        found = self._answers.get(key)
        if found is None or found[0] <= self._clock.now():
            return False, None
        return True, found[1]

    def put(self, key: object, value: V) -> V:
        """Keep an answer."""
        if len(self._answers) >= _CACHE_SIZE:
            self._answers.clear()
        self._answers[key] = (self._clock.now() + FRESH_MS, value)
        return value

    def forget(self, key: object) -> None:
        """Ask again next time."""
        self._answers.pop(key, None)


class SqlDirectory:
    """Users and endpoints."""

    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._users: Cache[User | None] = Cache(clock)
        self._owners: Cache[Sequence[User]] = Cache(clock)
        self._endpoints: Cache[Sequence[Endpoint]] = Cache(clock)

    async def check_keys(self) -> None:
        """At start: every key that stored secrets name is there.

        Raises:
            ConfigurationError: One is missing; names it and the setting.
        """
        sealed = await self._database.read(
            lambda c: (
                c.execute(sa.select(_ep.secrets).union(sa.select(_ep.headers))).scalars().all()
            )
        )
        missing = sorted(self._vault.missing_keys(sealed))
        if missing:
            raise ConfigurationError(
                f"stored webhook secrets are encrypted with key {', '.join(missing)},"
                f" which {SETTING} lacks: add it again behind the newest"
            )

    # ---------------------------------------------------------------- ports.Directory

    async def user(self, tenant_id: str, user_id: str) -> User | None:
        """See `ports.Directory.user`."""
        known, user = self._users.get((tenant_id, user_id))
        if known:
            return user
        query = {"tenant": tenant_id, "user": user_id}
        row = await self._database.look(lambda c: c.execute(_USER, query).first())
        return self._users.put((tenant_id, user_id), codes.user_of(row) if row else None)

    async def owners(self, tenant_id: str) -> Sequence[User]:
        """See `ports.Directory.owners`."""
        known, owners = self._owners.get(tenant_id)
        if known and owners is not None:
            return owners
        rows = await self._database.look(lambda c: c.execute(_OWNERS, {"tenant": tenant_id}).all())
        return self._owners.put(tenant_id, tuple(codes.user_of(row) for row in rows))

    async def endpoints(self, tenant_id: str) -> Sequence[Endpoint]:
        """See `ports.Directory.endpoints`."""
        known, endpoints = self._endpoints.get(tenant_id)
        if known and endpoints is not None:
            return endpoints
        rows = await self._database.look(
            lambda c: c.execute(_ENDPOINTS, {"tenant": tenant_id}).all()
        )
        return self._endpoints.put(tenant_id, tuple(self._endpoint(row) for row in rows))

    def endpoint_in(self, tx: Transaction, tenant_id: str, endpoint_id: str) -> Endpoint | None:
        """One endpoint as a transaction sees it."""
        key = {"tenant": tenant_id, "endpoint": endpoint_id}
        row = tx.connection.execute(_ENDPOINT, key).first()
        return self._endpoint(row) if row else None

    def forget(self, tenant_id: str) -> None:
        """Somebody else in this process changed one of the tenant's endpoints."""
        self._endpoints.forget(tenant_id)

    # ---------------------------------------------------------------- ports.Registry

    async def save_user(self, user: User) -> None:
        """See `ports.Registry.save_user`."""
        row = {
            **asdict(user),
            "locale": user.locale.value,
            "role": user.role.value,
        }
        row["id"] = user.id
        await self._database.write(lambda tx: _replace(tx, tables.users, row, ("tenant_id", "id")))
        self._forget_user(user.tenant_id, user.id)

    async def delete_user(self, tenant_id: str, user_id: str) -> bool:
        """See `ports.Registry.delete_user`."""

        def delete(tx: Transaction) -> bool:
            for table in (tables.inbox, tables.inbox_heads):
                tx.connection.execute(
                    sa.delete(table).where(
                        table.c.tenant_id == tenant_id, table.c.user_id == user_id
                    )
                )
            gone = tx.connection.execute(
                sa.delete(tables.users).where(_u.tenant_id == tenant_id, _u.id == user_id)
            )
            return bool(gone.rowcount)

        was_there = await self._database.write(delete)
        self._forget_user(tenant_id, user_id)
        return was_there

    async def save_endpoint(self, endpoint: Endpoint, *, most: int | None = None) -> bool:
        """See `ports.EndpointRegistry.save_endpoint`."""
        row = self._endpoint_row(endpoint)

        def save(tx: Transaction) -> bool:
            if most is not None and not has_room(tx, tables.endpoints, endpoint.tenant_id, most):
                return False
            _replace(tx, tables.endpoints, row, ("tenant_id", "id"))
            return True

        saved = await self._database.write(save)
        self._endpoints.forget(endpoint.tenant_id)
        return saved

    async def change_endpoint(
        self, tenant_id: str, endpoint_id: str, change: Callable[[Endpoint], Endpoint]
    ) -> Endpoint | None:
        """See `ports.EndpointRegistry.change_endpoint`."""

        def run(tx: Transaction) -> Endpoint | None:
            before = self.endpoint_in(tx, tenant_id, endpoint_id)
            if before is None:
                return None
            changed = change(before)
            if changed.state is EndpointState.ACTIVE and before.state is not EndpointState.ACTIVE:
                changed = replace(changed, active_since=tx.now)
                switching.forget(tx, [webhook_lane(tenant_id, endpoint_id)])
                note_resumed(tx)
            _replace(tx, tables.endpoints, self._endpoint_row(changed), ("tenant_id", "id"))
            return changed

        changed = await self._database.write(run)
        self._endpoints.forget(tenant_id)
        return changed

    async def delete_endpoint(self, tenant_id: str, endpoint_id: str) -> bool:
        """See `ports.EndpointRegistry.delete_endpoint`."""

        def delete(tx: Transaction) -> bool:
            gone = tx.connection.execute(
                sa.delete(tables.endpoints).where(_ep.tenant_id == tenant_id, _ep.id == endpoint_id)
            )
            if gone.rowcount:
                lane = webhook_lane(tenant_id, endpoint_id)
                switching.forget(tx, [lane])
                orphans.leave(tx, lane)
            return bool(gone.rowcount)

        was_there = await self._database.write(delete)
        self._endpoints.forget(tenant_id)
        return was_there

    # ---------------------------------------------------------------- rows

    def _forget_user(self, tenant_id: str, user_id: str) -> None:
        self._users.forget((tenant_id, user_id))
        self._owners.forget(tenant_id)

    def _endpoint_row(self, endpoint: Endpoint) -> dict[str, Any]:
        context = f"{endpoint.tenant_id}/{endpoint.id}"
        secrets = [
            {
                "key": secret.key.hex(),
                "privateKey": secret.private_key.hex(),
                "expiresAt": secret.expires_at,
            }
            for secret in endpoint.secrets
        ]
        return {
            "tenant_id": endpoint.tenant_id,
            "id": endpoint.id,
            "url": endpoint.url,
            "event_types": list(endpoint.event_types),
            "description": endpoint.description,
            "headers": self._vault.seal(orjson.dumps(dict(endpoint.headers)), context=context),
            "signatures": list(endpoint.signatures),
            "secrets": self._vault.seal(orjson.dumps(secrets), context=context),
            "state": endpoint.state.value,
            "state_reason": endpoint.state_reason,
            "created_at": endpoint.created_at,
            "rate_per_second": endpoint.rate_per_second,
            "active_since": endpoint.active_since,
        }

    def _endpoint(self, row: Any) -> Endpoint:
        context = f"{row.tenant_id}/{row.id}"
        secrets = orjson.loads(self._vault.open(row.secrets, context=context))
        return Endpoint(
            tenant_id=row.tenant_id,
            id=row.id,
            url=row.url,
            event_types=tuple(row.event_types),
            description=row.description,
            headers=orjson.loads(self._vault.open(row.headers, context=context)),
            signatures=tuple(row.signatures),
            secrets=tuple(
                SigningSecret(
                    key=bytes.fromhex(secret["key"]),
                    private_key=bytes.fromhex(secret["privateKey"]),
                    expires_at=secret["expiresAt"],
                )
                for secret in secrets
            ),
            state=EndpointState(row.state),
            state_reason=row.state_reason,
            created_at=row.created_at,
            rate_per_second=row.rate_per_second,
            active_since=row.active_since,
        )


class SqlKeys:
    """API keys. Implements `ports.Keys`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._found: Cache[ApiKey | None] = Cache(clock)

    async def add(self, key: ApiKey, digest: bytes, *, most: int | None = None) -> bool:
        """See `ports.Keys.add`."""
        row = {**asdict(key), "hash": digest}

        def add(tx: Transaction) -> bool:
            if most is not None and not has_room(tx, tables.api_keys, key.tenant_id, most):
                return False
            tx.connection.execute(sa.insert(tables.api_keys), row)
            return True

        added = await self._database.write(add)
        self._found.forget(digest)
        return added

    async def find(self, digest: bytes) -> ApiKey | None:
        """See `ports.Keys.find`."""
        known, key = self._found.get(digest)
        if known:
            return key
        row = await self._database.look(lambda c: c.execute(_KEY, {"hash": digest}).first())
        return self._found.put(digest, _key(row) if row else None)

    async def page(self, tenant_id: str | None) -> Sequence[ApiKey]:
        """See `ports.Keys.page`."""
        query = sa.select(tables.api_keys).order_by(_k.created_at, _k.id)
        if tenant_id is not None:
            query = query.where(_k.tenant_id == tenant_id)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_key(row) for row in rows]

    async def revoke(self, key_id: str, tenant_id: str | None) -> bool:
        """See `ports.Keys.revoke`."""
        statement = sa.delete(tables.api_keys).where(_k.id == key_id).returning(_k.hash)
        if tenant_id is not None:
            statement = statement.where(_k.tenant_id == tenant_id)
        digests = await self._database.write(
            lambda tx: tx.connection.execute(statement).scalars().all()
        )
        for digest in digests:
            self._found.forget(digest)
        return bool(digests)


def _replace(tx: Transaction, table: sa.Table, row: dict[str, Any], key: Sequence[str]) -> None:
    statement = codes.upsert(tx.connection, table)
    tx.connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(key),
            set_={name: statement.excluded[name] for name in row if name not in key},
        ),
        row,
    )


def _key(row: Any) -> ApiKey:
    return ApiKey(tenant_id=row.tenant_id, id=row.id, name=row.name, created_at=row.created_at)


_u, _ep, _k = tables.users.c, tables.endpoints.c, tables.api_keys.c
_b = sa.bindparam
_USER = sa.select(tables.users).where(_u.tenant_id == _b("tenant"), _u.id == _b("user"))
_OWNERS = (
    sa.select(tables.users)
    .where(_u.tenant_id == _b("tenant"), _u.role == Role.OWNER.value)
    .order_by(_u.id)
)
_ENDPOINTS = (
    sa.select(tables.endpoints)
    .where(_ep.tenant_id == _b("tenant"))
    .order_by(_ep.created_at, _ep.id)
)
_ENDPOINT = (
    sa.select(tables.endpoints)
    .where(_ep.tenant_id == _b("tenant"), _ep.id == _b("endpoint"))
    .with_for_update()
)
_KEY = sa.select(tables.api_keys).where(_k.hash == _b("hash"))
