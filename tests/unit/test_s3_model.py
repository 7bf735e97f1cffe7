"""The S3 client reads less of botocore's data, and works as with all of it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.config import Config
from botocore.session import get_session

from services.runtime.s3_model import S3Loader

REGIONS = ("us-east-1", "ap-northeast-2", "cn-north-1", "us-gov-west-1")


def client_of(service: str, region: str, *, reduced: bool) -> Any:
    session = get_session()
    session.set_credentials("key", "secret")
    if reduced:
        session.register_component("data_loader", S3Loader())
    config = Config(s3={"us_east_1_regional_endpoint": "regional"})
    return session.create_client(service, region_name=region, config=config)


def url_of(client: Any) -> str:
    url: str = client.generate_presigned_url("get_object", {"Bucket": "sori", "Key": "key"})
    return url.partition("?")[0]


@pytest.mark.parametrize("region", REGIONS)
def test_an_object_has_the_url_that_botocore_gives_it(region: str) -> None:
    reduced, full = [client_of("s3", region, reduced=each) for each in (True, False)]
    assert url_of(reduced) == url_of(full)


@pytest.mark.parametrize("service", ["sts", "sso", "sso-oidc"])
def test_services_that_give_credentials_have_their_endpoints(service: str) -> None:
    reduced, full = [client_of(service, REGIONS[1], reduced=each) for each in (True, False)]
    assert reduced.meta.endpoint_url == full.meta.endpoint_url


def test_every_operation_remains() -> None:
    reduced, full = [client_of("s3", REGIONS[0], reduced=each) for each in (True, False)]
    assert reduced.meta.service_model.operation_names == full.meta.service_model.operation_names
