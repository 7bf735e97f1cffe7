"""All SQL about uploads and their parts."""

from __future__ import annotations

from services.upload.store.upload_store import UploadStore
from services.upload.store.writer_store import WriterStore

__all__ = ["UploadStore", "WriterStore"]
