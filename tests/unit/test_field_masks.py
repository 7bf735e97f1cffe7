"""Field masks: which fields an update sets, and which keep their values."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import InvalidField
from services.runtime.field_masks import apply_update
from sori.catalog.v1 import catalog_pb2 as pb

ASSETS = pb.ReferenceAssets(
    voice=pb.ReferenceAsset(object_key="references/v"),
    pitch=pb.ReferenceAsset(object_key="references/p"),
)
TOKEN = pb.Token(
    id=1, name="old", actor_ids=[1, 2], category="movie", reference_assets=ASSETS, view_count=5
)

SETTABLE = ("name", "actor_ids", "category", "source_url", "start_time", "thumbnail_url")
OUTPUT_ONLY = ("id", "view_count", "revision", "create_time", "etag")


@st.composite
def tokens(draw: st.DrawFn) -> pb.Token:
    """Tokens in which any field may be absent."""
    assets = draw(
        st.dictionaries(
            st.sampled_from(["voice", "pitch", "alignment", "background"]),
            st.builds(pb.ReferenceAsset, object_key=st.sampled_from(["", "a", "b"])),
        )
    )
    return pb.Token(
        id=draw(st.integers(0, 2)),
        name=draw(st.sampled_from(["", "a", "b"])),
        actor_ids=draw(st.lists(st.integers(1, 3), max_size=2)),
        category=draw(st.sampled_from(["", "a", "b"])),
        source_url=draw(st.sampled_from(["", "a", "b"])),
        start_time=draw(st.sampled_from([0, 1.5])),
        reference_assets=pb.ReferenceAssets(**assets) if assets else None,
        view_count=draw(st.integers(0, 2)),
        revision=draw(st.integers(0, 2)),
        etag=draw(st.sampled_from(["", "a"])),
    )


def updated(update: pb.Token, *paths: str) -> pb.Token:
    return apply_update(TOKEN, update, FieldMask(paths=paths))


@given(tokens(), tokens(), st.lists(st.sampled_from(SETTABLE + OUTPUT_ONLY), min_size=1))
def test_a_mask_sets_its_settable_fields_and_no_others(
    current: pb.Token, update: pb.Token, paths: list[str]
) -> None:
    result = apply_update(current, update, FieldMask(paths=paths))
    for field in (*SETTABLE, *OUTPUT_ONLY, "reference_assets"):
        source = update if field in paths and field in SETTABLE else current
        assert getattr(result, field) == getattr(source, field)


@given(tokens(), tokens(), st.sampled_from(["voice", "pitch", "alignment", "background"]))
def test_a_nested_path_sets_or_clears_one_asset(
    current: pb.Token, update: pb.Token, asset: str
) -> None:
    mask = FieldMask(paths=[f"reference_assets.{asset}"])
    assets = apply_update(current, update, mask).reference_assets
    for each in ("voice", "pitch", "alignment", "background"):
        source = update if each == asset else current
        assert assets.HasField(each) == source.reference_assets.HasField(each)
        assert getattr(assets, each) == getattr(source.reference_assets, each)


def test_an_update_leaves_its_arguments_unchanged() -> None:
    current, update = pb.Token(name="old"), pb.Token(name="new")
    apply_update(current, update, FieldMask(paths=["reference_assets.voice.object_key"]))
    assert (current, update) == (pb.Token(name="old"), pb.Token(name="new"))


def test_without_a_mask_the_populated_fields_are_set() -> None:
    result = updated(pb.Token(id=9, name="new", view_count=7))
    assert (result.id, result.name, result.category, result.view_count) == (1, "new", "movie", 5)


def test_without_a_mask_an_asset_keeps_the_others() -> None:
    voice = pb.ReferenceAssets(voice=pb.ReferenceAsset(object_key="references/new"))
    result = updated(pb.Token(reference_assets=voice))
    assert result.reference_assets.voice.object_key == "references/new"
    assert result.reference_assets.pitch.object_key == "references/p"


def test_a_star_sets_all_settable_fields() -> None:
    result = updated(pb.Token(name="new"), "*")
    assert result == pb.Token(id=1, name="new", view_count=5)


def test_a_list_is_replaced() -> None:
    assert updated(pb.Token(actor_ids=[3]), "actor_ids").actor_ids == [3]
    assert updated(pb.Token(), "actor_ids").actor_ids == []


def test_a_message_that_is_named_and_absent_is_cleared() -> None:
    assert not updated(pb.Token(), "reference_assets").HasField("reference_assets")
    result = updated(pb.Token(), "reference_assets.voice")
    assert not result.reference_assets.HasField("voice")
    assert result.reference_assets.HasField("pitch")


def test_output_only_fields_are_ignored() -> None:
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


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["nonsense"] * 101, "update_mask: must have at most 100 paths"),
        (["name" * 51], "update_mask: must have paths of at most 200 characters"),
    ],
)
def test_a_large_mask_is_refused_with_one_violation(paths: list[str], problem: str) -> None:
    with pytest.raises(InvalidField, match=problem) as error:
        updated(pb.Token(), *paths)
    assert len(error.value.violations) == 1


def test_a_token_can_be_sent_back_with_its_scripts() -> None:
    sent_back = pb.Token(name="new", scripts=[pb.Script(text="x")] * 1_000)
    assert updated(sent_back, "name", "scripts").name == "new"
    assert not updated(sent_back, "name", "scripts").scripts
