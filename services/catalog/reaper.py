"""The reaper of the catalog: deletes expired token changes and request ids."""

from __future__ import annotations

from services.catalog.store import ChangeStore
from services.runtime.periodic import PeriodicTask

INTERVAL_SECONDS = 3600.0


class ChangeReaper:
    """Deletes what watchers and repeated requests no longer need, about once an hour."""

    def __init__(self, store: ChangeStore) -> None:
        self._task = PeriodicTask(
            "catalog change reaper", store.delete_expired, INTERVAL_SECONDS, jitter=0.5
        )

    async def run(self) -> None:
        """Delete expired rows until cancelled."""
        await self._task.run()
