"""All SQL about uploads and their parts."""

from __future__ import annotations

from services.upload.store.owner_store import OwnerStore
from services.upload.store.upload_store import MayUse, UploadStore
from services.upload.store.writer_store import WriterStore

__all__ = ["MayUse", "OwnerStore", "UploadStore", "WriterStore"]
