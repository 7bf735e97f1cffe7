"""The loops that run next to the rpcs."""

from __future__ import annotations

from services.accounts import key_ring, metrics, owner_tasks, pictures
from services.accounts.metrics import ErasureMetrics, KeyMetrics, MailMetrics
from services.accounts.owner_tasks import Adopter, Eraser
from services.accounts.parts import Parts
from services.accounts.pictures import FormerPictures
from services.accounts.store import AdoptionStore, ExpiredRows, MailStore, PictureStore
from services.runtime.periodic import PeriodicTask
from services.runtime.server import Background

REAPER_INTERVAL_SECONDS = 3600.0


def background_of(parts: Parts) -> list[Background]:
    """All loops of the service."""
    eraser = Eraser(
        parts.erasures, uploads=parts.uploads, analyses=parts.analyses, pictures=parts.pictures
    )
    former_pictures = FormerPictures(PictureStore(parts.database), parts.pictures)
    adopter = Adopter(AdoptionStore(parts.database), uploads=parts.uploads, analyses=parts.analyses)
    expired = ExpiredRows(
        parts.database, refresh_token_seconds=parts.settings.refresh_token_seconds
    )
    tasks = [
        PeriodicTask("signing keys", parts.keys.refresh, key_ring.INTERVAL_SECONDS),
        PeriodicTask("erasures", eraser.run_once, owner_tasks.INTERVAL_SECONDS),
        PeriodicTask("adoptions", adopter.run_once, owner_tasks.INTERVAL_SECONDS),
        PeriodicTask("former pictures", former_pictures.run_once, pictures.INTERVAL_SECONDS),
        PeriodicTask("account reaper", expired.delete, REAPER_INTERVAL_SECONDS, jitter=0.5),
        PeriodicTask(
            "erasure metrics", ErasureMetrics(parts.erasures).refresh, metrics.INTERVAL_SECONDS
        ),
        PeriodicTask("key metrics", KeyMetrics(parts.keys).refresh, metrics.INTERVAL_SECONDS),
        PeriodicTask(
            "mail metrics",
            MailMetrics(MailStore(parts.database)).refresh,
            metrics.INTERVAL_SECONDS,
        ),
    ]
    return [
        Background("mail outbox", parts.outbox.run, parts.outbox.stop),
        *(Background(task.name, task.run) for task in tasks),
    ]
