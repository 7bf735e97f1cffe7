"""What has ended long ago is forgotten, with its recording."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import SecretStr

from services.analysis.reaper import JobReaper
from services.analysis.store import JobStore
from services.runtime.database import Database
from services.runtime.object_store import ObjectStore
from services.runtime.settings import DatabaseSettings, ObjectStoreSettings
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Product


def test_an_ended_analysis_goes_with_its_recording_and_others_stay(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, {"analysis_results": {}}))
    ended = product.uploaded(held_token)
    product.ended(ended)
    waiting = product.uploaded(held_token, "take_0890_close.webm")
    s3 = product.stack.s3
    objects = ObjectStoreSettings(
        s3_endpoint_url=s3.endpoint_url,
        s3_bucket_name=s3.bucket,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=SecretStr(s3.secret_key),
    )
    database = DatabaseSettings(database_url=SecretStr(product.stack.database_url))

    async def forget() -> None:
        async with Database(database, "test") as opened, ObjectStore.connect(objects) as store:
            retention = JobReaper(JobStore(opened), store, timedelta(0))
            while await retention.delete_batch():
                pass

    asyncio.run(forget())
    assert product.gateway.get(f"/analyses/{ended}").status_code == 404
    assert product.jobs_of(held_token) == [waiting]
    assert [key.rpartition("/")[2] for key in product.stored(held_token)] == [waiting]
