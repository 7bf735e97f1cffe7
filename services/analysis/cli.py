"""Delete analyses with their recordings: `python -m services.analysis.cli delete`.

`--before`, `--token` and `--owner` select the analyses; at least one is needed. The command
connects to PostgreSQL (DATABASE_URL). Afterwards no call finds the analyses, and the workers delete
their recordings and rows within about two minutes. `--dry-run` only counts.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime

from services.analysis.store import Deletions, Filter
from services.registry import ANALYSIS
from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable
from services.runtime.settings import DatabaseSettings

BATCH = 500


async def delete(settings: DatabaseSettings, wanted: Filter, *, dry_run: bool) -> int:
    """Delete the analyses that match a filter; returns how many matched."""
    async with Database(settings, f"{ANALYSIS.name}-cli") as database:
        deletions = Deletions(database)
        if dry_run:
            return await deletions.count(wanted)
        deleted = 0
        while batch := await deletions.delete_some(wanted, BATCH):
            deleted += batch
        return deleted


def main() -> int:
    """Run one command. Returns the exit status."""
    arguments = _parser().parse_args()
    selected = (arguments.before, arguments.token, arguments.owner)
    if not any(each is not None for each in selected):
        print("Add --before, --token or --owner: they select what is deleted.", file=sys.stderr)
        return 2
    wanted = Filter(
        token_id=arguments.token, owner_id=arguments.owner, created_before=arguments.before
    )
    try:
        count = asyncio.run(delete(DatabaseSettings.read(), wanted, dry_run=arguments.dry_run))
    except DatabaseUnavailable:
        print("PostgreSQL does not respond. Run the command again.", file=sys.stderr)
        return 1
    print(f"{count} analyses {'match' if arguments.dry_run else 'deleted'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.analysis.cli", description=__doc__)
    parser.add_argument("command", choices=("delete",))
    parser.add_argument(
        "--before",
        type=_time,
        help="only analyses created before this time: ISO 8601, UTC unless it has an offset",
    )
    parser.add_argument("--token", type=int, help="only analyses of this token")
    parser.add_argument("--owner", help="only analyses of this account or guest, by its id")
    parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
    return parser


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
