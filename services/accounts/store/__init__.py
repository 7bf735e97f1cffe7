"""All SQL of the accounts service."""

from __future__ import annotations

from services.accounts.store.accounts import AccountStore

__all__ = ["AccountStore"]
