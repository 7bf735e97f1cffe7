"""The signature of a webhook URL is valid for one job only."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from services.analysis.errors import SignatureInvalid, SignatureMissing
from services.analysis.webhook import WebhookSigner

JOB = UUID("01a20810-e3b2-705b-90e5-b52e27a5d578")
OTHER_JOB = UUID("01a20810-e3b2-705b-90e5-b52e27a5d579")
URL = "https://sori.example/tokens/webhook/analysis-complete?tenant=7"


def signer(key: str = "a key of some length", *, required: bool = True) -> WebhookSigner:
    return WebhookSigner(URL, key, signature_required=required)


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_the_url_keeps_its_query_and_adds_job_and_signature() -> None:
    signed = query(signer().url_for(JOB))
    assert signed["tenant"] == "7"
    assert signed["job_id"] == str(JOB)
    signer().verify(JOB, signed["signature"])


def test_the_parameters_of_the_configured_url_do_not_replace_those_of_the_job() -> None:
    url = "https://sori.example/webhook?job_id=1&signature=x&empty=&text=%EC%86%8C+%26#fragment"
    webhook = WebhookSigner(url, "a key of some length", signature_required=True)
    signed = webhook.url_for(JOB)
    parameters = parse_qs(urlsplit(signed).query, keep_blank_values=True)
    assert parameters["job_id"] == [str(JOB)]
    assert parameters["text"] == ["소 &"]
    assert parameters["empty"] == [""]
    webhook.verify(JOB, "".join(parameters["signature"]))


@pytest.mark.parametrize("forged", ["x", "é", "a" * 10_000])
def test_a_forged_signature_is_refused(forged: str) -> None:
    with pytest.raises(SignatureInvalid):
        signer().verify(JOB, forged)


def test_while_a_key_is_replaced_both_are_valid_and_the_new_one_signs() -> None:
    old, new = "a key of some length", "another key of some length"
    both = WebhookSigner(URL, new, signature_required=True, previous_key=old)
    both.verify(JOB, query(signer(old).url_for(JOB))["signature"])
    signer(new).verify(JOB, query(both.url_for(JOB))["signature"])


def test_the_signature_of_another_job_is_refused() -> None:
    with pytest.raises(SignatureInvalid):
        signer().verify(OTHER_JOB, query(signer().url_for(JOB))["signature"])


def test_the_signature_of_another_key_is_refused() -> None:
    signature = query(signer("another key than that").url_for(JOB))["signature"]
    with pytest.raises(SignatureInvalid):
        signer().verify(JOB, signature)


def test_a_missing_signature_is_refused() -> None:
    with pytest.raises(SignatureMissing):
        signer().verify(JOB, "")


def test_signatures_can_be_switched_off() -> None:
    signer(required=False).verify(JOB, "")
