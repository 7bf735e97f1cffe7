"""Links in mails. The token is in the fragment, which browsers send to no server."""

from __future__ import annotations

VERIFY_EMAIL = "verify-email"
RESET_PASSWORD = "reset-password"  # noqa: S105 (a path)


def link(app_url: str, page: str, token: str) -> str:
    """The link to a page of the web app, such as `https://app/verify-email#token=…`."""
    return f"{app_url.rstrip('/')}/{page}#token={token}"
