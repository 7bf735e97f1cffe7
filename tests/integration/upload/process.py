"""A process of the upload service without its gRPC server, and checks of the objects in S3."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
from pydantic import SecretStr
from sqlalchemy import text
from uuid_utils.compat import uuid7

from services.runtime.callers import GUEST_SECONDS
from services.runtime.database import Database
from services.runtime.object_store import ObjectStore
from services.runtime.settings import DatabaseSettings
from services.upload.accounts_client import AccountsClient
from services.upload.cleanup import CleanUpTasks
from services.upload.client_limits import ClientLimits, Quota
from services.upload.client_store import ClientStore
from services.upload.clients import AnalysisClient, CatalogClient
from services.upload.completion import Completion
from services.upload.memory_budget import MemoryBudget
from services.upload.models import Kind, Plan, UploadRecord, new_picture_key, recording_key
from services.upload.one_shot import OneShotUploads
from services.upload.orphans import OrphanReaper
from services.upload.owners import OwnedUploads
from services.upload.reaper import UploadReaper
from services.upload.received import Limits
from services.upload.session import SessionResources
from services.upload.state import State
from services.upload.store import OwnerStore, UploadStore, WriterStore
from services.upload.stream import Finish, IncomingFile, RecordingStart
from services.upload.uploads import Uploads
from tests.integration.upload.faults import Faults, faulty_analysis, faulty_objects, faulty_store

MIB = 1024**2
PART = 5 * MIB
LIFETIME = timedelta(hours=1)
TOKEN_ID = 1


@dataclass
class Backends:
    """The PostgreSQL, the S3 server and the other services that all processes share.

    token_id: of a token in the catalog.
    """

    database: Database
    objects: ObjectStore
    s3: Any
    bucket: str
    analysis_address: str
    catalog_address: str
    accounts_address: str
    token_id: int

    async def execute(self, statement: str, **parameters: object) -> None:
        """Change rows in PostgreSQL without the service."""
        async with self.database.transaction() as connection:
            await connection.execute(text(statement), parameters)

    async def job(self, job_id: UUID | None) -> tuple[str, bytes | None]:
        """The state of an analysis job, and the SHA-256 of its recording."""
        async with self.database.transaction() as connection:
            row = await connection.execute(
                text("SELECT state, sha256 FROM analysis.jobs WHERE job_id = :job_id"),
                {"job_id": job_id},
            )
            state, sha256 = row.one()
            return state, sha256

    async def has_job(self, job_id: UUID) -> bool:
        """Whether a job exists."""
        async with self.database.transaction() as connection:
            found = await connection.execute(
                text("SELECT 1 FROM analysis.jobs WHERE job_id = :job_id"), {"job_id": job_id}
            )
            return found.one_or_none() is not None

    async def uploads_of(self, job_ids: Collection[UUID]) -> list[UUID]:
        """The uploads of these jobs that have a row."""
        async with self.database.transaction() as connection:
            found = await connection.execute(
                text("SELECT upload_id FROM upload.uploads WHERE job_id = ANY(:job_ids)"),
                {"job_ids": list(job_ids)},
            )
            return list(found.scalars())

    def without_database(self) -> Backends:
        """The same parts, with a database that does not respond."""
        settings = DatabaseSettings(database_url=SecretStr("postgresql://sori@127.0.0.1:9/sori"))
        return replace(self, database=Database(settings, "test"))

    async def recordings_with(self, content: bytes) -> list[str]:
        """Keys of the recordings of this size with this content."""
        return [
            key
            for key, size in await self.stored_objects("recordings/")
            if size == len(content) and await self.sha256(key) == hashlib.sha256(content).digest()
        ]

    async def stored_objects(self, prefix: str) -> list[tuple[str, int]]:
        """Keys and sizes of the objects with a prefix, without open multipart uploads."""
        found = await self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [(each["Key"], each["Size"]) for each in found.get("Contents", ())]

    async def multipart_uploads(self, key: str) -> list[str]:
        """Ids of the multipart uploads of an object."""
        found = await self.s3.list_multipart_uploads(Bucket=self.bucket, Prefix=key)
        return [each["UploadId"] for each in found.get("Uploads", ())]

    async def part_sizes(self, key: str, s3_upload_id: str) -> dict[int, int]:
        """Sizes of the parts of a multipart upload in S3, by part number."""
        found = await self.s3.list_parts(Bucket=self.bucket, Key=key, UploadId=s3_upload_id)
        return {each["PartNumber"]: each["Size"] for each in found.get("Parts", ())}

    async def sha256(self, key: str) -> bytes:
        """The SHA-256 of an object."""
        digest = hashlib.sha256()
        async for piece in self.objects.read(key):
            digest.update(piece)
        return digest.digest()


@dataclass
class Process:
    """The domain objects of one process."""

    backends: Backends
    faults: Faults = field(default_factory=Faults)
    budget_bytes: int = 64 * MIB
    open_uploads: int = 0
    daily_bytes: int = 0
    submissions: int = 32
    account: Quota = field(default_factory=Quota)
    guests: bool = True
    guest_seconds: int = GUEST_SECONDS
    upload_id: UUID = field(default_factory=uuid7)

    @property
    def guest_lifetime(self) -> timedelta | None:
        """How long a new guest exists; None if guests are not admitted."""
        return timedelta(seconds=self.guest_seconds) if self.guests else None

    def __post_init__(self) -> None:
        catalog = CatalogClient(grpc.aio.insecure_channel(self.backends.catalog_address))
        channel = grpc.aio.insecure_channel(self.backends.analysis_address)
        self.analysis = AnalysisClient(channel)
        analysis = faulty_analysis(self.analysis, self.faults)
        database = self.backends.database
        self.store = faulty_store(UploadStore(database), self.faults)
        self.writer_store = faulty_store(WriterStore(database), self.faults)
        self.budget = MemoryBudget(self.budget_bytes)
        objects = faulty_objects(self.backends.objects, self.faults)
        completion = Completion(
            self.store,
            self.writer_store,
            objects,
            catalog,
            analysis,
            AccountsClient(grpc.aio.insecure_channel(self.backends.accounts_address)),
            kept_for=LIFETIME,
        )
        self.client_limits = ClientLimits(
            ClientStore(database),
            address=Quota(self.open_uploads, self.daily_bytes),
            account=self.account,
        )
        self.resources = SessionResources(
            store=self.store,
            writer_store=self.writer_store,
            objects=objects,
            budget=self.budget,
            completion=completion,
            clean_ups=CleanUpTasks(),
            limits=Limits(
                recording_bytes=64 * MIB,
                asset_bytes=64 * MIB,
                picture_bytes=5 * MIB,
                recording_seconds=3600,
            ),
            client_limits=self.client_limits,
            idle_seconds=10,
            submissions=asyncio.Semaphore(self.submissions),
        )
        self.one_shot = OneShotUploads(self.resources, catalog, analysis)
        self.uploads = Uploads(self.resources, catalog, LIFETIME, guests=self.guests)
        self.owned = OwnedUploads(OwnerStore(database), self.store, completion)
        self.reaper = UploadReaper(self.store, self.writer_store, self.uploads, completion)

    async def create(self, plan: Plan | None = None) -> UploadRecord:
        """Create an upload: by default a partial one, else a recording with its job."""
        plan, upload_id = plan or Plan(Kind.PARTIAL), uuid7()
        job_id = uuid7() if plan.kind is Kind.RECORDING else None
        key = f"partials/{upload_id}" if job_id is None else recording_key(plan.token_id, job_id)
        if plan.kind is Kind.PICTURE:
            key = new_picture_key(plan.owner_id)
        if job_id is not None:
            await self.analysis.open_job(job_id, plan.token_id, timeout=LIFETIME)
        return await self.store.create(
            plan,
            LIFETIME,
            upload_id=upload_id,
            object_key=key,
            part_bytes=PART,
            job_id=job_id,
        )

    async def upload_take(
        self,
        content: AsyncGenerator[bytes | Finish],
        on_job: Callable[[UUID], object] = lambda _: None,
        *,
        request_id: str = "",
        client: str = "unknown",
    ) -> UUID:
        """Upload a take over a single connection, as the servicer does; returns its job."""

        async def known(job_id: UUID) -> None:
            on_job(job_id)

        start = RecordingStart(TOKEN_ID, "take.wav", request_id, client)
        async with aclosing(content):
            return await self.one_shot.upload_recording(IncomingFile(start, content), known)

    async def record(self, upload_id: UUID) -> UploadRecord:
        """Become the writer of the upload; returns it with its parts."""
        record = await self.store.take_over(upload_id)
        assert record is not None
        return record

    async def reap(self, upload_ids: Collection[UUID]) -> None:
        """Let these uploads expire, and reap all due uploads."""
        await self.backends.execute(
            "UPDATE upload.uploads SET due_time = now(), expire_time = now()"
            " WHERE upload_id = ANY(:upload_ids)",
            upload_ids=list(upload_ids),
        )
        await self.reap_due()

    async def make_due(self, upload_ids: Collection[UUID]) -> None:
        """Make these uploads due for the reaper, as if time had passed."""
        await self.backends.execute(
            "UPDATE upload.uploads SET due_time = now() WHERE upload_id = ANY(:upload_ids)",
            upload_ids=list(upload_ids),
        )

    async def age(self, request_id: str, by: timedelta) -> None:
        """Move an upload into the past, as if nothing had happened to it for this long."""
        await self.backends.execute(
            "UPDATE upload.uploads SET due_time = due_time - CAST(:by AS interval),"
            " expire_time = expire_time - CAST(:by AS interval) WHERE request_id = :request_id",
            request_id=request_id,
            by=by,
        )

    async def reap_orphans(self) -> None:
        """Delete the recordings without a job, as if hours had passed."""
        orphans = OrphanReaper(
            self.backends.objects,
            self.analysis,
            timedelta(hours=5),
            lambda: datetime.now(UTC) + timedelta(hours=4),
        )
        # This hour and the one before: it may have begun while the test ran.
        for _ in range(2):
            await orphans.reap()

    async def reap_due(self) -> None:
        """Reap all due uploads."""
        while await self.reaper.reap():
            pass


def aged(uuid7: UUID, age: timedelta) -> UUID:
    """The id that its generator would have generated this long before."""
    return UUID(int=uuid7.int - (int(age.total_seconds() * 1000) << 80))


async def stream(
    content: bytes, *, finish: bool, piece: int = MIB
) -> AsyncGenerator[bytes | Finish]:
    """The content as a client sends it, in pieces of `piece` bytes."""
    for start in range(0, len(content), piece):
        yield content[start : start + piece]
    if finish:
        yield Finish()


async def assert_committed_is_in_s3(backends: Backends, record: UploadRecord) -> None:
    """Every committed byte of an open upload is in S3."""
    progress = record.progress
    if record.upload.state is State.STORED and record.s3_upload_id is None:
        assert await backends.stored_objects(record.object_key) == [
            (record.object_key, progress.size)
        ]
        return
    tail = dict(await backends.stored_objects(record.tail_prefix))
    in_tail = [tail[each.key] for each in progress.tail]
    assert in_tail == [each.size for each in progress.tail]
    in_parts = await _saved_part_sizes(backends, record)
    assert sum(in_tail) + sum(in_parts) == progress.size


async def _saved_part_sizes(backends: Backends, record: UploadRecord) -> Sequence[int]:
    if record.s3_upload_id is None:
        assert not record.progress.parts
        return ()
    if record.s3_upload_id not in await backends.multipart_uploads(record.object_key):
        # S3 completed it, but the session never received the answer.
        assert record.upload.state is State.STORED
        return [size for _, size in await backends.stored_objects(record.object_key)]
    sizes = await backends.part_sizes(record.object_key, record.s3_upload_id)
    return [sizes[part.number] for part in record.progress.parts]


async def assert_nothing_left_in_s3(backends: Backends, record: UploadRecord) -> None:
    """S3 has no objects, tail objects or multipart uploads of this upload."""
    assert await backends.stored_objects(record.tail_prefix) == []
    assert await backends.multipart_uploads(record.object_key) == []
    assert await backends.stored_objects(record.object_key) == []


def random_content(size: int) -> bytes:
    """Unique content."""
    seed = uuid4().bytes
    return (seed * (size // len(seed) + 1))[:size]
