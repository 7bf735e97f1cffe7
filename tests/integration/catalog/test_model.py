"""Any sequence of creates, updates and deletes leaves the store equal to a model of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr
from sqlalchemy import text

from services.catalog import freshness
from services.catalog.errors import (
    ActorInUse,
    ActorNotFound,
    AlreadyExists,
    EtagMismatch,
    ScriptNotFound,
    TokenInUse,
)
from services.catalog.models import Actor, Script, Token, TokenFilter, etag_of
from services.catalog.store import CatalogStore
from services.runtime.database import Database
from services.runtime.errors import InvalidField, SoriError
from services.runtime.settings import DatabaseSettings
from services.runtime.shared_errors import TokenNotFound

LAST = 2**31 - 1
Result = TypeVar("Result")

NAMES = st.sampled_from(["수지", "Suzy", "e", "é", "👩‍🎤", "سلمى", "%"])
ALIASES = st.lists(st.text("abㅅ", min_size=1, max_size=3), unique=True, max_size=3)


@dataclass
class TokenModel:
    """The expected state of a token. `scripts` maps ids to texts."""

    actor_ids: tuple[int, ...]
    end_time: float
    revision: int = 1
    scripts: dict[int, str] = field(default_factory=dict)


class CatalogModel(RuleBasedStateMachine):
    """Runs each operation on dictionaries and on the real database, and compares both."""

    database_url = ""
    actor_ids = Bundle("actor_ids")
    token_ids = Bundle("token_ids")
    script_ids = Bundle("script_ids")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        settings = DatabaseSettings(database_url=SecretStr(self.database_url))
        self.database = Database(settings, "model")
        self.store = CatalogStore(self.database)
        self.actors: dict[int, Actor] = {}
        self.tokens: dict[int, TokenModel] = {}
        self.run(self.truncate())

    async def truncate(self) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(text("TRUNCATE catalog.actors, catalog.tokens CASCADE"))

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(call)

    def assert_refused(self, call: Coroutine[Any, Any, object], error: type[SoriError]) -> None:
        with pytest.raises(error):
            self.run(call)

    def is_name_used(self, name: str) -> bool:
        return any(actor.name == name for actor in self.actors.values())

    def token_of(self, script_id: int) -> TokenModel | None:
        return next((each for each in self.tokens.values() if script_id in each.scripts), None)

    @rule(target=actor_ids, name=NAMES, aliases=ALIASES)
    def create_actor(self, name: str, aliases: list[str]) -> int:
        call = self.store.actors.create(Actor(name, tuple(aliases)))
        if self.is_name_used(name):
            self.assert_refused(call, AlreadyExists)
            return LAST
        actor = self.run(call)
        self.actors[actor.id or 0] = actor
        return actor.id or 0

    @rule(actor_id=actor_ids, name=NAMES, is_stale=st.booleans())
    def rename_actor(self, actor_id: int, name: str, is_stale: bool) -> None:
        etag = "stale" if is_stale else ""
        call = self.store.actors.update(actor_id, etag, lambda actor: replace(actor, name=name))
        before = self.actors.get(actor_id)
        if before is None:
            return self.assert_refused(call, ActorNotFound)
        if is_stale:
            return self.assert_refused(call, EtagMismatch)
        if name != before.name and self.is_name_used(name):
            return self.assert_refused(call, AlreadyExists)
        after = self.run(call)
        assert (after.name, after.aliases) == (name, before.aliases)
        assert (etag_of(after) == etag_of(before)) == (name == before.name)
        self.actors[actor_id] = after
        return None

    @rule(actor_id=actor_ids, force=st.booleans())
    def delete_actor(self, actor_id: int, force: bool) -> None:
        call = self.store.actors.delete(actor_id, "", force=force)
        if actor_id not in self.actors:
            return self.assert_refused(call, ActorNotFound)
        using = {key: each for key, each in self.tokens.items() if actor_id in each.actor_ids}
        if using and not force:
            return self.assert_refused(call, ActorInUse)
        self.run(call)
        del self.actors[actor_id]
        for token_id, token in using.items():
            token.actor_ids = tuple(each for each in token.actor_ids if each != actor_id)
            if not token.actor_ids:
                del self.tokens[token_id]
        return None

    @rule(target=token_ids, cast=st.lists(actor_ids, min_size=1, max_size=3, unique=True))
    def create_token(self, cast: list[int]) -> int:
        call = self.store.tokens.create(Token("clip", tuple(cast), "", "", 0, 10))
        if not set(cast) <= set(self.actors):
            self.assert_refused(call, ActorNotFound)
            return LAST
        token_id = self.run(call).id or 0
        self.tokens[token_id] = TokenModel(tuple(cast), 10)
        return token_id

    @rule(token_id=token_ids, end_time=st.sampled_from([2.0, 6.0, 10.0]))
    def shorten_token(self, token_id: int, end_time: float) -> None:
        call = self.store.tokens.update(
            token_id, "", lambda token: replace(token, end_time=end_time)
        )
        token = self.tokens.get(token_id)
        if token is None:
            return self.assert_refused(call, TokenNotFound)
        if end_time < token.end_time and any("late" in each for each in token.scripts.values()):
            return self.assert_refused(call, InvalidField)
        self.run(call)
        token.revision += end_time != token.end_time
        token.end_time = end_time
        return None

    @rule(token_id=token_ids, force=st.booleans())
    def delete_token(self, token_id: int, force: bool) -> None:
        call = self.store.tokens.delete(token_id, "", force=force)
        if token_id not in self.tokens:
            return self.assert_refused(call, TokenNotFound)
        if self.tokens[token_id].scripts and not force:
            return self.assert_refused(call, TokenInUse)
        self.run(call)
        del self.tokens[token_id]
        return None

    @rule(target=script_ids, token_id=token_ids, is_late=st.booleans())
    def create_script(self, token_id: int, is_late: bool) -> int:
        word, end = ("late", 9.0) if is_late else ("soon", 1.0)
        call = self.store.scripts.create(Script(token_id, word, "", "", 0, end))
        token = self.tokens.get(token_id)
        if token is None:
            self.assert_refused(call, TokenNotFound)
            return LAST
        if end > token.end_time:
            self.assert_refused(call, InvalidField)
            return LAST
        script_id = self.run(call).id or 0
        token.scripts[script_id] = word
        token.revision += 1
        return script_id

    @rule(script_id=script_ids, addition=st.sampled_from(["", " again"]))
    def change_script(self, script_id: int, addition: str) -> None:
        call = self.store.scripts.update(
            script_id, "", lambda script: replace(script, text=script.text[:4] + addition)
        )
        token = self.token_of(script_id)
        if token is None:
            return self.assert_refused(call, ScriptNotFound)
        after = self.run(call)
        token.revision += after.text != token.scripts[script_id]
        token.scripts[script_id] = after.text
        return None

    @rule(script_id=script_ids)
    def delete_script(self, script_id: int) -> None:
        call = self.store.scripts.delete(script_id, "")
        token = self.token_of(script_id)
        if token is None:
            return self.assert_refused(call, ScriptNotFound)
        self.run(call)
        del token.scripts[script_id]
        token.revision += 1
        return None

    @invariant()
    def lists_equal_the_model(self) -> None:
        actors = self.run(self.store.actors.page(100, 0))
        assert actors == [
            replace(self.actors[each], token_count=self.token_count(each))
            for each in sorted(self.actors)
        ]
        tokens = self.run(self.store.pages.latest(TokenFilter(), 100, LAST))
        assert [
            (token.id, token.actor_ids, token.end_time, token.revision) for token in tokens
        ] == [
            (
                each,
                self.tokens[each].actor_ids,
                self.tokens[each].end_time,
                self.tokens[each].revision,
            )
            for each in sorted(self.tokens, reverse=True)
        ]
        scripts = self.run(self.store.scripts.page(100, 0))
        assert {script.id: script.text for script in scripts} == {
            key: value for token in self.tokens.values() for key, value in token.scripts.items()
        }

    def token_count(self, actor_id: int) -> int:
        return sum(actor_id in token.actor_ids for token in self.tokens.values())

    def teardown(self) -> None:
        self.run(self.truncate())
        self.run(self.database.__aexit__(None, None, None))
        self.loop.close()


def test_the_store_behaves_like_the_model(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No replica answers from memory.
    monkeypatch.setattr(freshness, "WAIT_SECONDS", 0)
    CatalogModel.database_url = database_url
    run_state_machine_as_test(
        CatalogModel,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
