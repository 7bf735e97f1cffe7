"""Presigned URLs are those of botocore, and are read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiobotocore.config import AioConfig
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

from services.runtime.presigning import UrlSigner, seconds_left, signer_like

KEY = "recordings/1/x.wav"
PERMANENT = ReadOnlyCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", None)
TEMPORARY = ReadOnlyCredentials("ASIAEXAMPLE", "secret", "a+session/token==")
PATH_STYLE = "http://s3:8333/sori/"


def url_of_botocore(
    credentials: ReadOnlyCredentials, bucket_url: str = PATH_STYLE, key: str = KEY
) -> str:
    request = AWSRequest("GET", f"{bucket_url}{key}")
    given = Credentials(credentials.access_key, credentials.secret_key, credentials.token)
    S3SigV4QueryAuth(given, "s3", "ap-northeast-2", expires=600).add_auth(request)
    return str(request.url)


def parameters(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def parsed_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def signing_time(url: str) -> datetime:
    return parsed_time(parameters(url)["X-Amz-Date"])


@pytest.mark.parametrize("credentials", [PERMANENT, TEMPORARY], ids=["permanent", "temporary"])
@pytest.mark.parametrize(
    "bucket_url",
    [
        PATH_STYLE,
        "https://sori.s3.ap-northeast-2.amazonaws.com/",
        "https://S3.example:443/a/sori/",
        "http://[::1]:9000/sori/",
    ],
)
def test_a_signature_is_that_of_botocore(credentials: ReadOnlyCredentials, bucket_url: str) -> None:
    botocores = url_of_botocore(credentials, bucket_url)
    signer = UrlSigner(bucket_url, "ap-northeast-2")
    ours = signer.url(credentials, KEY, 600, signing_time(botocores))
    assert ours.partition("?")[0] == botocores.partition("?")[0]
    assert parameters(ours) == parameters(botocores)


@pytest.mark.parametrize("credentials", [PERMANENT, TEMPORARY], ids=["permanent", "temporary"])
@pytest.mark.parametrize("query", ["", "partNumber=7&uploadId=a%2Bb"], ids=["object", "part"])
@pytest.mark.parametrize(
    "bucket_url", [PATH_STYLE, "https://sori.s3.ap-northeast-2.amazonaws.com/"]
)
def test_a_signature_in_headers_is_that_of_botocore(
    credentials: ReadOnlyCredentials, query: str, bucket_url: str
) -> None:
    headers = {"content-type": "audio/wav", "x-amz-checksum-crc32": "NhCmhg=="}
    botocores = AWSRequest("PUT", f"{bucket_url}{KEY}{query and '?'}{query}", headers=headers)
    # As botocore marks requests whose body is not signed.
    botocores.context["client_config"] = AioConfig(s3={"payload_signing_enabled": False})
    given = Credentials(credentials.access_key, credentials.secret_key, credentials.token)
    S3SigV4Auth(given, "s3", "ap-northeast-2").add_auth(botocores)
    time = parsed_time(botocores.context["timestamp"])
    ours = UrlSigner(bucket_url, "ap-northeast-2").put(credentials, KEY, query, headers, time)
    assert ours.url == botocores.url
    assert ours.headers["authorization"] == botocores.headers["Authorization"]


def test_names_of_objects_are_quoted() -> None:
    botocores = url_of_botocore(PERMANENT, key="a%20b/%EC%86%8C%EB%A6%AC~%2B.wav")
    ours = UrlSigner(PATH_STYLE, "ap-northeast-2").url(
        PERMANENT, "a b/소리~+.wav", 600, signing_time(botocores)
    )
    assert ours.partition("?")[0] == botocores.partition("?")[0]
    assert parameters(ours) == parameters(botocores)


def test_the_signing_key_follows_the_day_and_the_credentials() -> None:
    signer = UrlSigner(PATH_STYLE, "ap-northeast-2")
    today = datetime(2026, 11, 28, 23, 59, 59, tzinfo=UTC)
    for time in (today, today + timedelta(seconds=1)):
        for credentials in (PERMANENT, TEMPORARY):
            fresh = UrlSigner(PATH_STYLE, "ap-northeast-2")
            expected = fresh.url(credentials, KEY, 600, time)
            assert signer.url(credentials, KEY, 600, time) == expected


def test_the_first_url_of_botocore_shows_how_to_sign_the_next_ones() -> None:
    botocores = url_of_botocore(TEMPORARY)
    signer = signer_like(botocores, KEY, TEMPORARY)
    assert signer is not None
    ours = signer.url(TEMPORARY, KEY, 600, signing_time(botocores))
    assert parameters(ours) == parameters(botocores)


@pytest.mark.parametrize(
    "url",
    [
        url_of_botocore(PERMANENT).replace("X-Amz-Algorithm=AWS4-HMAC", "X-Amz-Algorithm=AWS4-X"),
        url_of_botocore(PERMANENT) + "&X-Amz-Other=1",
        url_of_botocore(TEMPORARY),
        f"{PATH_STYLE}{KEY}?AWSAccessKeyId=AKIDEXAMPLE&Expires=1&Signature=x",
        f"{PATH_STYLE}{KEY}",
    ],
    ids=["another algorithm", "more parameters", "other credentials", "version 2", "unsigned"],
)
def test_a_url_that_is_signed_in_another_way_gives_no_signer(url: str) -> None:
    assert signer_like(url, KEY, PERMANENT) is None


def test_how_long_a_url_is_valid() -> None:
    url = url_of_botocore(PERMANENT)
    later = signing_time(url) + timedelta(seconds=100)
    assert seconds_left(url, later) == (500, 600)


def test_a_url_expires_with_the_temporary_credentials_that_signed_it() -> None:
    time = datetime(2026, 11, 28, tzinfo=UTC)
    url = UrlSigner(PATH_STYLE, "ap-northeast-2").url(TEMPORARY, KEY, 3600, time)
    assert seconds_left(url, time) == (600, 600)


@pytest.mark.parametrize("url", [PATH_STYLE, f"{PATH_STYLE}?X-Amz-Expires=600"])
def test_a_url_without_dates_counts_as_expired(url: str) -> None:
    assert seconds_left(url) == (0, 0)
