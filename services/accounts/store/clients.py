"""Programs of internal teams that get tokens with their own credentials."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, insert, select, update

from services.accounts.models import Actor, AuditEntry, Client, Role
from services.accounts.store.audit import record
from services.accounts.tables import clients
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class ClientStore:
    """Creates, revokes and reads clients."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, client: Client, name: str, actor: Actor) -> None:
        """Insert a client. name: what it is for."""
        async with self._database.transaction() as connection:
            await connection.execute(
                insert(clients).values(
                    client_id=client.client_id,
                    name=name,
                    secret_hash=client.secret_hash,
                    roles=list(client.roles),
                    created_by=actor.actor_id,
                )
            )
            detail = " ".join([str(client.client_id), *client.roles])
            await record(
                connection, AuditEntry(actor.actor_id, "", "create_client", detail, actor.address)
            )

    async def revoke(self, client_id: UUID, actor: Actor) -> bool:
        """Refuse the credentials of a client from now on; returns whether it exists."""
        statement = (
            update(clients)
            .where(clients.c.client_id == client_id)
            .values(revoke_time=func.coalesce(clients.c.revoke_time, func.now()))
        )
        async with self._database.transaction() as connection:
            if not (await connection.execute(statement)).rowcount:
                return False
            entry = AuditEntry(actor.actor_id, "", "revoke_client", str(client_id), actor.address)
            await record(connection, entry)
        return True

    async def find(self, client_id: UUID) -> Client | None:
        """The client with this id; None if there is none or it was revoked."""
        statement = select(clients.c.client_id, clients.c.secret_hash, clients.c.roles).where(
            clients.c.client_id == client_id, clients.c.revoke_time.is_(None)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None:
            return None
        return Client(row.client_id, row.secret_hash, _roles(row.roles))


def _roles(names: Sequence[str]) -> tuple[Role, ...]:
    return tuple(map(Role, names))
