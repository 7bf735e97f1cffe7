"""What botocore reads about S3 from its data files: the part that a client uses.

botocore reads the endpoints of all services of AWS and the documentation of every S3 operation,
and keeps both in memory: 10 MB. To find one service, it looks into the folders of all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.loaders import JSONFileLoader, Loader

_SERVICES = {"s3", "sts", "portal.sso", "oidc"}
"""S3, and the services from which botocore gets credentials."""

_DOCUMENTATION = "documentation"


class S3Loader(Loader):  # type: ignore[misc]
    """A loader that drops what the client does not need, and looks for no services."""

    def __init__(self) -> None:
        super().__init__(file_loader=_SmallFiles())

    def list_available_services(self, _type_name: str) -> list[str]:
        """All services that botocore knows; the files of a type are looked for on use."""
        folders = [Path(each) for each in self.search_paths if Path(each).is_dir()]
        return sorted({each.name for folder in folders for each in folder.iterdir()})


class _SmallFiles(JSONFileLoader):  # type: ignore[misc]
    """Reads data files without the parts that no client uses."""

    def _load_file(self, full_path: str, open_method: Callable[..., Any]) -> Any:
        if not Path(full_path).is_file():
            return None
        # botocore's own loader makes ordered dictionaries, three times as large.
        with open_method(full_path, "rb") as file:
            return json.load(file)

    def load_file(self, file_path: str) -> Any:
        data = super().load_file(file_path)
        name = Path(file_path).name
        if data and name == "endpoints":
            for partition in data["partitions"]:
                known = partition["services"]
                partition["services"] = {key: known[key] for key in _SERVICES & known.keys()}
        elif data and name == "service-2":
            _drop_documentation(data)
        return data


def _drop_documentation(data: Any) -> None:
    """Empty the texts about operations, shapes and members. A member may have that name, too."""
    if isinstance(data, list):
        for each in data:
            _drop_documentation(each)
    elif isinstance(data, dict):
        if isinstance(data.get(_DOCUMENTATION), str):
            data[_DOCUMENTATION] = ""
        for each in data.values():
            _drop_documentation(each)
