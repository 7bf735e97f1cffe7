"""What `make attack` calls a pass, and what it attacks with."""

from __future__ import annotations

import io

import av
import pytest

from attack.audio import flac, with_covers
from attack.model import Attack, Outcome, Verdict
from attack.registry import ATTACKS
from attack.rpcs import unary_rpcs
from attack.target import ENVIRONMENTS, memory_limits_mib
from services.registry import SERVICE_NAMES

ATTACK = Attack("an attack", "refused", lambda _: Outcome("refused", is_right=True))
RIGHT, WRONG = Outcome("refused", is_right=True), Outcome("served", is_right=False)


def test_an_attack_passes_if_it_is_refused_and_nobody_else_notices_it() -> None:
    assert Verdict(ATTACK, RIGHT, longest_wait_ms=250, failed_reads=0, over_limit={}).passed


@pytest.mark.parametrize(
    "verdict",
    [
        pytest.param(Verdict(ATTACK, WRONG, 10, 0, {}), id="wrong answer"),
        pytest.param(Verdict(ATTACK, RIGHT, 251, 0, {}), id="another client waited"),
        pytest.param(Verdict(ATTACK, RIGHT, 10, 1, {}), id="a read of another client failed"),
        pytest.param(Verdict(ATTACK, RIGHT, 10, 0, {"upload": "too much"}), id="too much memory"),
    ],
)
def test_an_attack_fails(verdict: Verdict) -> None:
    assert not verdict.passed


def test_every_attack_has_its_own_name() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


def test_another_wait_limit_has_a_reason() -> None:
    default = ATTACK.wait_limit_ms
    assert all(attack.why for attack in ATTACKS if attack.wait_limit_ms != default)


def test_texts_reach_every_text_field() -> None:
    fields = {
        f"{rpc.name} {field}" for rpc in unary_rpcs() for field, _ in rpc.requests_with("text")
    }
    assert {
        "CreateActor actor.name",
        "CreateActor actor.aliases",
        "CreateScript script.words.text",
        "UpdateToken update_mask.paths",
        "SearchTokens query",
        "CreateUpload file_name",
        "ReportAnalysis signature",
    } <= fields


def test_the_limits_are_those_of_the_base() -> None:
    assert set(SERVICE_NAMES) | {"gateway"} <= memory_limits_mib().keys()
    limits = ENVIRONMENTS["limits of deploy/k8s/base"]
    assert {"GATEWAY_MAX_HEAP_BYTES", "GATEWAY_CLIENT_REQUESTS_PER_SECOND"} <= limits.keys()
    assert not [name for name in limits if name.endswith(("_LISTEN", "_ADDRESS", "_PORT"))]


def test_the_flac_has_the_rate_of_1_hz() -> None:
    with av.open(io.BytesIO(flac(rate=1))) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 1


def test_the_flac_has_covers_and_audio() -> None:
    with av.open(io.BytesIO(with_covers(flac()))) as container:
        kinds = [stream.type for stream in container.streams]
    assert (kinds.count("audio"), kinds.count("video")) == (1, 10)
