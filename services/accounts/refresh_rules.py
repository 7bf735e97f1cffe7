"""What becomes of a refresh token that a client presents.

Each refresh token is exchanged once. A token that was exchanged before may be a retry after a
lost answer, or it was stolen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto


class Verdict(Enum):
    """The answer to a presented refresh token.

    ROTATE: exchange it. REPEAT: give the same successor again. REUSED: end its session, because
    two parties have it. ENDED: its session has ended, or it is unknown.
    """

    ROTATE = auto()
    REPEAT = auto()
    REUSED = auto()
    ENDED = auto()


@dataclass(frozen=True)
class Use:
    """The exchange of a refresh token. address: of the client.

    is_latest: whether its successor is the token that the session expects.
    """

    time: datetime
    address: str
    is_latest: bool


@dataclass(frozen=True)
class Presented:
    """What is known of a presented token. use: None if it was not exchanged yet."""

    expire_time: datetime
    revoke_time: datetime | None
    use: Use | None


def judge(presented: Presented | None, *, now: datetime, address: str, grace: timedelta) -> Verdict:
    """Decide what becomes of a token.

    presented: None for an unknown token. address: of the client that presents it. grace: for how
    long the same client gets the same successor again.
    """
    if presented is None or presented.revoke_time is not None or presented.expire_time <= now:
        return Verdict.ENDED
    use = presented.use
    if use is None:
        return Verdict.ROTATE
    if use.is_latest and use.address == address and now - use.time <= grace:
        return Verdict.REPEAT
    return Verdict.REUSED
