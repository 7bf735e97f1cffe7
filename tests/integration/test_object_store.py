"""The object store works with another S3 server than the stack's: moto, which follows AWS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import boto3
import pytest
import trustme
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import get_session
from aiohttp import web
from moto.server import ThreadedMotoServer
from yarl import URL

from services.runtime import s3_puts
from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectMissing, ObjectStore
from services.runtime.presigning import Presigner
from services.runtime.settings import ObjectStoreSettings

PART = bytes(range(256)) * 4 * 5 * 1024


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    ).create_bucket(Bucket="sori")
    yield url
    server.stop()


def settings_of(endpoint: str, **others: str) -> ObjectStoreSettings:
    return ObjectStoreSettings.model_validate(
        {
            "s3_endpoint_url": endpoint,
            "aws_access_key_id": "key",
            "aws_secret_access_key": "secret",
            **others,
        }
    )


@pytest.fixture(params=["crc32", "md5"])
async def objects(endpoint: str, request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    settings = settings_of(endpoint, s3_checksum=request.param)
    async with ObjectStore.connect(settings) as objects:
        yield objects


async def content(objects: ObjectStore, key: str) -> bytes:
    return b"".join([piece async for piece in objects.read(key)])


async def test_an_object_in_one_request(objects: ObjectStore) -> None:
    await objects.put("one", b"hello", "audio/wav")
    assert await content(objects, "one") == b"hello"
    assert await objects.size("one") == 5


async def test_an_object_of_parts_with_gaps_in_their_numbers(objects: ObjectStore) -> None:
    upload_id = await objects.start_multipart("parts", "audio/wav")
    parts = [
        await objects.put_part("parts", upload_id, number, part)
        for number, part in ((1, PART), (3, PART), (7, b"end"))
    ]
    await objects.finish_multipart("parts", upload_id, parts)
    assert await content(objects, "parts") == PART + PART + b"end"


async def test_a_replaced_part_is_refused(objects: ObjectStore) -> None:
    upload_id = await objects.start_multipart("replaced", "audio/wav")
    part = await objects.put_part("replaced", upload_id, 1, b"first")
    await objects.put_part("replaced", upload_id, 1, b"other")
    with pytest.raises(Exception, match="object store"):
        await objects.finish_multipart("replaced", upload_id, [part])


async def test_the_keys_with_a_prefix_come_in_pages(objects: ObjectStore) -> None:
    keys = [f"pages/{number}" for number in range(5)]
    for key in (*keys, "others/1"):
        await objects.put(key, b"x", "audio/wav")
    assert await objects.list_page("pages/", after="", limit=2) == (keys[:2], True)
    assert await objects.list_page("pages/", after=keys[1], limit=2) == (keys[2:4], True)
    assert await objects.list_page("pages/", after=keys[3], limit=2) == (keys[4:], False)
    assert await objects.list_page("none/", after="", limit=2) == ([], False)


async def test_missing_objects_and_uploads(objects: ObjectStore) -> None:
    upload_id = await objects.start_multipart("gone", "audio/wav")
    await objects.abort_multiparts("gone")
    with pytest.raises(ObjectMissing):
        await objects.size("gone")
    with pytest.raises(ObjectMissing):
        await content(objects, "gone")
    await objects.abort_multipart("gone", upload_id)
    await objects.delete("gone")


async def test_all_objects_with_a_prefix_are_deleted(objects: ObjectStore) -> None:
    for number in range(5):
        await objects.put(f"tails/a/{number}", b"x", "audio/wav")
    await objects.put("tails/b/1", b"x", "audio/wav")
    await objects.delete_all("tails/a/")
    assert await content(objects, "tails/b/1") == b"x"
    with pytest.raises(ObjectMissing):
        await objects.size("tails/a/0")


@pytest.mark.parametrize(
    ("others", "url"),
    [
        pytest.param(
            {"s3_endpoint_url": "", "aws_region": "ap-northeast-2"},
            "https://sori.s3.ap-northeast-2.amazonaws.com/a",
            id="AWS, as in the production overlay",
        ),
        pytest.param(
            {"s3_endpoint_url": "", "aws_region": "me-south-1"},
            "https://sori.s3.me-south-1.amazonaws.com/a",
            id="AWS, a region of later than March 2019",
        ),
        pytest.param(
            {"s3_endpoint_url": "", "aws_region": "us-east-1"},
            "https://sori.s3.us-east-1.amazonaws.com/a",
            id="AWS, the first region",
        ),
        pytest.param(
            {"s3_endpoint_url": "", "aws_region": "us-east-1", "s3_bucket_name": "so.ri"},
            "https://s3.us-east-1.amazonaws.com/so.ri/a",
            id="AWS, a bucket with a dot",
        ),
        pytest.param({"s3_endpoint_url": "http://s3:8333"}, "http://s3:8333/sori/a", id="ours"),
        pytest.param(
            {"s3_endpoint_url": "https://s3.example.com", "s3_addressing_style": "virtual"},
            "https://sori.s3.example.com/a",
            id="another server with virtual hosts",
        ),
    ],
)
async def test_presigned_urls_have_the_host_of_the_region(others: dict[str, str], url: str) -> None:
    async with ObjectStore.connect(settings_of("", **others)) as objects:
        assert (await objects.presigned_url("a", 600)).partition("?")[0] == url


async def test_presigned_urls_read_objects(objects: ObjectStore) -> None:
    for key in ("a b", "소리+~/%.wav"):
        await objects.put(key, b"hello", "audio/wav")
        # The first URL of a store is botocore's, all others are ours.
        for _ in range(2):
            url = await objects.presigned_url(key, 600)
            async with aiohttp.request("GET", URL(url, encoded=True)) as response:
                assert await response.read() == b"hello"


async def test_presigned_urls_follow_temporary_credentials_when_they_are_refreshed() -> None:
    now, hour = [datetime.now(UTC)], timedelta(hours=1)

    async def refreshed() -> dict[str, str]:
        expiry_time = (now[0] + hour).isoformat()
        return {
            "access_key": "new-key",
            "secret_key": "new-secret",
            "token": "new-token",
            "expiry_time": expiry_time,
        }

    credentials = AioRefreshableCredentials(
        "key", "secret", "token", now[0] + hour, refreshed, "test", time_fetcher=lambda: now[0]
    )
    session = get_session()
    session._credentials = credentials
    config = AioConfig(signature_version="s3v4")
    async with session.create_client("s3", region_name="us-east-1", config=config) as client:
        presigner = Presigner(client, "sori", credentials)
        # The first URL is botocore's, all others are ours.
        before = [await presigner.url("a", 600) for _ in range(2)]
        now[0] += hour
        after = await presigner.url("a", 600)
    assert [_credentials_in(each) for each in before] == [("key", "token")] * 2
    assert _credentials_in(after) == ("new-key", "new-token")


def _credentials_in(url: str) -> tuple[str, str]:
    signed = dict(parse_qsl(urlsplit(url).query))
    return signed["X-Amz-Credential"].partition("/")[0], signed["X-Amz-Security-Token"]


class FailingServer:
    """An S3 server that gives prepared responses first: statuses and codes; then it stores."""

    def __init__(self, *failures: tuple[int, str]) -> None:
        self._failures = list(failures)
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.headers.append(request.headers)
        if not self._failures:
            return web.Response(headers={"ETag": '"etag"'})
        status, code = self._failures.pop(0)
        if status == DISCONNECT:
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve until the context ends; gives the endpoint's URL."""
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()


DISCONNECT = 299
"""Stands for a connection that is closed without a response."""


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_puts, "MAX_PAUSE_SECONDS", 0)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    "failure",
    [
        (503, "SlowDown"),
        (500, "InternalError"),
        (502, ""),
        (400, "RequestTimeout"),
        (DISCONNECT, ""),
    ],
    ids=str,
)
async def test_a_put_that_fails_for_a_while_is_repeated(failure: tuple[int, str]) -> None:
    server = FailingServer(failure, failure)
    async with server.running() as url, ObjectStore.connect(settings_of(url)) as objects:
        await objects.put("one", [b"hel", memoryview(b"lo")], "audio/wav")
    assert server.bodies[-1] == b"hello"
    assert len(server.bodies) == 3


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("failure", [(503, "SlowDown"), (DISCONNECT, "")], ids=str)
async def test_a_put_that_always_fails_is_given_up(failure: tuple[int, str]) -> None:
    server = FailingServer(*[failure] * 20)
    async with server.running() as url, ObjectStore.connect(settings_of(url)) as objects:
        with pytest.raises(StorageUnavailable):
            await objects.put("one", b"hello", "audio/wav")


@pytest.mark.parametrize("failure", [(403, "AccessDenied"), (400, "BadDigest")], ids=str)
async def test_a_put_that_is_refused_is_not_repeated(failure: tuple[int, str]) -> None:
    server = FailingServer(failure)
    async with server.running() as url, ObjectStore.connect(settings_of(url)) as objects:
        with pytest.raises(StorageUnavailable):
            await objects.put("one", b"hello", "audio/wav")
    assert len(server.bodies) == 1


async def test_a_part_of_a_missing_upload_is_refused() -> None:
    server = FailingServer((404, "NoSuchUpload"))
    async with server.running() as url, ObjectStore.connect(settings_of(url)) as objects:
        with pytest.raises(ObjectMissing):
            await objects.put_part("missing", "no-such-upload", 1, b"hello")


async def test_a_redirect_is_left_to_botocore() -> None:
    server = FailingServer((307, "TemporaryRedirect"))
    async with server.running() as url, ObjectStore.connect(settings_of(url)) as objects:
        await objects.put("one", [b"hel", b"lo"], "audio/wav")
    ours, botocores = (headers["User-Agent"] for headers in server.headers)
    assert "Botocore" in botocores
    assert "Botocore" not in ours
    assert server.bodies == [b"hello"] * 2


class Recorder:
    """An HTTPS server that records the headers and bodies of requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[Mapping[str, str], bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.headers, await request.read()))
        return web.Response(headers={"ETag": '"etag"'})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def https_endpoint(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", recorder.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    yield f"https://localhost:{port}"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("checksum", "header", "value"),
    [
        ("crc32", "x-amz-checksum-crc32", "NhCmhg=="),
        ("md5", "content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
    ],
)
async def test_checksums_are_headers_over_https_and_the_body_is_plain(
    https_endpoint: str, recorder: Recorder, checksum: str, header: str, value: str
) -> None:
    async with ObjectStore.connect(settings_of(https_endpoint, s3_checksum=checksum)) as objects:
        await objects.put("one", b"hello", "audio/wav")
        await objects.put_part("parts", "upload", 1, b"hello")
    for headers, body in recorder.requests:
        assert body == b"hello"
        assert headers[header] == value
        assert "aws-chunked" not in headers.get("content-encoding", "")
        assert "x-amz-trailer" not in headers
