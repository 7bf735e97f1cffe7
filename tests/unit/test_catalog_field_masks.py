"""Field masks: what an update sets, and what it leaves."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from services.catalog.field_masks import merged
from services.runtime.errors import InvalidField
from sori.catalog.v1 import catalog_pb2 as pb

ASSETS = pb.ReferenceAssets(
    voice=pb.ReferenceAsset(object_key="references/v"),
    pitch=pb.ReferenceAsset(object_key="references/p"),
)
TOKEN = pb.Token(
    id=1, name="old", actor_ids=[1, 2], category="movie", reference_assets=ASSETS, view_count=5
)


def updated(update: pb.Token, *paths: str) -> pb.Token:
    return merged(TOKEN, update, FieldMask(paths=paths))


def test_without_a_mask_what_is_populated_is_set() -> None:
    result = updated(pb.Token(id=9, name="new", view_count=7))
    assert (result.id, result.name, result.category, result.view_count) == (1, "new", "movie", 5)


def test_without_a_mask_an_asset_leaves_the_others() -> None:
    voice = pb.ReferenceAssets(voice=pb.ReferenceAsset(object_key="references/new"))
    result = updated(pb.Token(reference_assets=voice))
    assert result.reference_assets.voice.object_key == "references/new"
    assert result.reference_assets.pitch.object_key == "references/p"


def test_a_star_sets_all_that_can_be_set() -> None:
    result = updated(pb.Token(name="new"), "*")
    assert result == pb.Token(id=1, name="new", view_count=5)


def test_a_list_is_set_as_a_whole() -> None:
    assert updated(pb.Token(actor_ids=[3]), "actor_ids").actor_ids == [3]
    assert updated(pb.Token(), "actor_ids").actor_ids == []


def test_a_message_that_is_named_and_missing_is_cleared() -> None:
    assert not updated(pb.Token(), "reference_assets").HasField("reference_assets")
    result = updated(pb.Token(), "reference_assets.voice")
    assert not result.reference_assets.HasField("voice")
    assert result.reference_assets.HasField("pitch")


def test_output_only_fields_are_passed_over() -> None:
    result = updated(pb.Token(view_count=9, etag="x", name="new"), "view_count", "etag", "name")
    assert (result.view_count, result.etag, result.name) == (5, "", "new")


def test_every_unknown_path_is_named() -> None:
    with pytest.raises(InvalidField) as error:
        updated(pb.Token(), "nonsense", "name.first", "actor_ids.0", "", "*", "name")
    problems = [violation.description for violation in error.value.violations]
    assert [problem.rsplit(": ")[1] for problem in problems] == [
        "'nonsense'",
        "'name.first'",
        "'actor_ids.0'",
        "''",
        "'*'",
    ]
