"""tus-js-client uploads from Node and from a browser, and resumes after a reload of the page."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.e2e.product import Json, Product
from tests.e2e.uploading import MIB, Uploader, assert_analysed, wav

SCRIPTS = Path(__file__).parents[1] / "js"
NODE = shutil.which("node")
BROWSER = shutil.which("chromium")
LONG = wav(12 * MIB + 345)

pytestmark = pytest.mark.skipif(
    NODE is None or not (SCRIPTS / "node_modules" / "tus-js-client").exists(),
    reason="Node.js and npm are not installed",
)
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="there is no chromium on the PATH")


@pytest.fixture
def take(tmp_path: Path) -> Path:
    path = tmp_path / "take.wav"
    path.write_bytes(LONG)
    return path


def run(script: str, options: Json) -> Json:
    """Run a script; returns the JSON that it prints."""
    assert NODE is not None
    done = subprocess.run(
        [NODE, SCRIPTS / script, json.dumps(options)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    printed: Json = json.loads(done.stdout)
    return printed


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="in one request"),
        pytest.param({"chunkSize": 5 * MIB}, id="in chunks"),
        pytest.param({"chunkSize": MIB, "deferred": True}, id="of unknown length"),
        pytest.param({"chunkSize": MIB, "interruptAt": 7 * MIB}, id="interrupted and resumed"),
    ],
)
def test_node_uploads_a_file(
    product: Product,
    gateway: httpx.Client,
    held_token: int,
    uploader: Uploader,
    take: Path,
    options: Json,
) -> None:
    printed = run(
        "upload.mjs",
        {
            "endpoint": str(gateway.base_url.join("/uploads")),
            "file": str(take),
            "metadata": {"token_id": str(held_token), "filename": "take.wav"},
            **options,
        },
    )
    upload = uploader.get(printed["url"].rpartition("/")[2])
    assert printed["jobId"] == upload.job_id
    assert all(status.split()[1] in ("200", "201", "204") for status in printed["statuses"])
    assert_analysed(product, upload, LONG)


def upload_in_a_page(gateway: httpx.Client, token_id: int, take: Path, **options: int) -> Json:
    """Upload a take from a page; returns the state of the page after the upload."""
    printed = run(
        "reload.mjs",
        {
            "browser": BROWSER,
            "endpoint": str(gateway.base_url.join("/uploads")),
            "file": str(take),
            "tokenId": token_id,
            **options,
        },
    )
    assert "failed" not in printed
    return printed


@in_a_browser
def test_a_reloaded_page_resumes_its_upload(
    product: Product, gateway: httpx.Client, held_token: int, uploader: Uploader, take: Path
) -> None:
    page = upload_in_a_page(gateway, held_token, take, chunkSize=MIB, reloadAt=4 * MIB)
    assert page["offsets"][0] >= 4 * MIB
    upload = uploader.get(page["url"].rpartition("/")[2])
    assert page["jobId"] == upload.job_id
    assert_analysed(product, upload, LONG)


@in_a_browser
def test_a_page_uploads_in_parallel(
    product: Product, gateway: httpx.Client, held_token: int, uploader: Uploader, take: Path
) -> None:
    page = upload_in_a_page(gateway, held_token, take, chunkSize=5 * MIB, parallelUploads=3)
    assert_analysed(product, uploader.get(page["url"].rpartition("/")[2]), LONG)
