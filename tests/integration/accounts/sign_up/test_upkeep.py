"""Unused accounts are deleted, and a metric shows the mails that wait."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.accounts.metrics import MailMetrics
from services.accounts.store import ExpiredRows, MailStore
from tests.integration.accounts.sign_up.service import (
    EMAIL,
    Service,
    running,
    without_mail_server,
)


async def reap(service: Service) -> list[str]:
    """Delete what has expired; returns the addresses that still have an account."""
    await service.sql("UPDATE accounts.accounts SET create_time = now() - interval '31 days'")
    await ExpiredRows(service.parts.database, refresh_token_seconds=1).delete()
    return await service.sql("SELECT email FROM accounts.accounts")


async def test_an_unverified_account_without_a_login_is_deleted_after_30_days(
    service: Service,
) -> None:
    await service.verified()
    await service.sign_up("jiho@example.com")
    assert await reap(service) == [EMAIL]


async def test_an_unverified_account_with_a_login_stays(database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path, accounts_email_verification=False) as service:
        await service.sign_up()
        await service.log_in()
        assert await reap(service) == [EMAIL]


async def test_the_age_of_the_oldest_mail_is_a_metric(database_url: str, tmp_path: Path) -> None:
    async with without_mail_server(database_url, tmp_path) as service:
        metrics = MailMetrics(MailStore(service.parts.database))
        await metrics.refresh()
        assert REGISTRY.get_sample_value("sori_accounts_oldest_mail_seconds") == 0
        await service.sign_up()
        await service.sql("UPDATE accounts.mails SET create_time = now() - interval '1 hour'")
        await metrics.refresh()
        age = REGISTRY.get_sample_value("sori_accounts_oldest_mail_seconds")
        assert age == pytest.approx(3600, abs=60)
