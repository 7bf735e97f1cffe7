"""Errors of the catalog."""

from __future__ import annotations

from collections.abc import Sequence

from grpc import StatusCode

from services.runtime.errors import SoriError

MAX_NAMED_IDS = 50


class AlreadyExists(
    SoriError,
    code=StatusCode.ALREADY_EXISTS,
    developer="Another {resource} already has this {field}. Choose a different {field}.",
    korean="이미 사용 중인 값입니다. 다른 값을 입력해 주세요.",
    english="This value is already in use. Enter a different one.",
):
    """Another resource has this unique value; metadata: resource, field."""


class EtagMismatch(
    SoriError,
    code=StatusCode.ABORTED,
    developer="The {resource} changed after you read it: its etag is now {etag}. Read it again"
    " and repeat the change.",
    korean="그사이 내용이 변경되었습니다. 새로고침한 뒤 다시 수정해 주세요.",
    english="The content changed in the meantime. Reload it and repeat your edit.",
):
    """The resource changed after the caller read it; metadata: resource, etag."""


class ActorInUse(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="Actor {actor_id} has tokens: {token_count}. Delete them first, or set force.",
    korean="이 배우를 사용하는 토큰이 있습니다. 토큰을 먼저 삭제하거나 force를 지정해 주세요.",
    english="Tokens use this actor. Delete them first, or set force.",
    http_status=409,
):
    """A caller tried to delete an actor that tokens use; metadata: actor_id, token_count."""


class TokenInUse(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="Token {token_id} has {users}. Delete them first, or set force.",
    korean="이 토큰에 대사나 분석이 있습니다. 먼저 삭제하거나 force를 지정해 주세요.",
    english="This token has scripts or analyses. Delete them first, or set force.",
    http_status=409,
):
    """A caller tried to delete a token in use; metadata: token_id, users (scripts, analyses)."""


class ActorNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    developer="Actor {actor_id} does not exist. Create it first, or use another id.",
    korean="{actor_id}번 배우가 없습니다. 번호를 확인해 주세요.",
    english="Actor {actor_id} does not exist. Check its number.",
):
    """The actor does not exist; metadata: actor_id, or several ids separated by commas."""


class ScriptNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    developer="Script {script_id} does not exist. Use the id of an existing script.",
    korean="{script_id}번 대사가 없습니다. 번호를 확인해 주세요.",
    english="Script {script_id} does not exist. Check its number.",
):
    """The script does not exist; metadata: script_id, or several ids separated by commas."""


def id_list(ids: Sequence[int]) -> str:
    """The ids for an error's metadata, separated by commas: the first MAX_NAMED_IDS of them."""
    return ", ".join(map(str, ids[:MAX_NAMED_IDS]))
