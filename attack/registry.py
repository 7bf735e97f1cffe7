"""Every attack, with the answer that is right."""

from __future__ import annotations

import time

from attack import (
    audio,
    connections,
    dialects,
    floods,
    logins,
    malformed,
    reports,
    streams,
    texts,
    uploads,
)
from attack.model import Attack, Outcome
from attack.target import Target

_QUIET_SECONDS = 3.0


def no_attack(_: Target) -> Outcome:
    """Nothing, to show how long reads take on this machine."""
    time.sleep(_QUIET_SECONDS)
    return Outcome("nothing", is_right=True)


ATTACKS = (
    Attack(
        "none, for comparison",
        "quick reads",
        no_attack,
        wait_limit_ms=10_000,
        why="it shows what the machine itself costs",
    ),
    Attack(
        "1 MiB of combining marks in every text field, by gRPC",
        "each refused within a second",
        texts.combining_marks_by_grpc,
    ),
    Attack(
        "combining marks in JSON and in a query",
        "each refused within a second",
        texts.combining_marks_by_http,
    ),
    Attack("page token that inflates", "INVALID_ARGUMENT at once", texts.page_token_bomb),
    Attack(
        "violations without end in bodies and masks",
        "refused with an answer of at most 16 KiB",
        texts.endless_violations,
    ),
    Attack(
        "violations without end in import lines",
        "lines refused with short reasons",
        texts.import_lines,
    ),
    Attack("unsigned reports of 8 MiB", "refused unread", reports.unsigned_large_reports),
    Attack("unsigned deep reports", "refused, never 500", reports.unsigned_deep_reports),
    Attack(
        "signed reports that cannot be stored",
        "400, and the job stays readable",
        reports.signed_unreadable_reports,
    ),
    Attack(
        "synchronous answers that cannot be stored",
        "the job stays readable",
        reports.unreadable_synchronous_answers,
    ),
    Attack("slow bodies on 40 sockets", "all are ended", connections.slow_bodies),
    Attack("idle connections of one address", "others are served", connections.idle_connections),
    Attack("watchers of one address", "served, or refused with 429", connections.many_watchers),
    Attack(
        "128 upload streams with chunks of 4 MiB",
        "upload stays within its pod's memory and gives it back",
        streams.held_uploads,
        wait_limit_ms=1000,
        why="1 GiB passes over the processors that the attacker shares with the target",
    ),
    Attack("bytes outside UTF-8 by HTTP", "refused, no internals", malformed.invalid_utf8_by_http),
    Attack("bytes outside UTF-8 by gRPC", "INVALID_ARGUMENT", malformed.invalid_utf8_by_grpc),
    Attack("ids overridden by query and body", "400, nothing changes", malformed.overridden_ids),
    Attack("request smuggling", "no hidden request is served", malformed.smuggled_requests),
    Attack("tus: one piece 250 times", "refused, or stored once", uploads.one_piece_many_times),
    Attack("tus: the same final twice", "one upload; DELETE 204", uploads.repeated_final),
    Attack(
        "tus: uploads that never send a byte",
        "429 with Retry-After",
        uploads.open_uploads_without_end,
    ),
    Attack(
        "idempotency key of somebody else",
        "no effect on the other's job",
        uploads.a_strangers_idempotency_key,
    ),
    Attack("upload id from a job id", "nothing in common", uploads.guessed_upload_ids),
    Attack("hostile recordings", "each ends with a reason or a result", audio.hostile_recordings),
    Attack("HTTP/2 rapid reset", "connections are ended", floods.rapid_resets),
    Attack("HTTP/2 settings and pings", "connections are ended", floods.settings_and_pings),
    Attack("HTTP/2 headers without end", "connections are ended", floods.endless_headers),
    Attack(
        "10,000 logins a minute from one address",
        "401, then 429; a learner elsewhere logs in within 3 s",
        logins.logins_of_one_address,
    ),
    Attack(
        "10,000 logins a minute from 64 addresses",
        "401 or refused: two hashes at a time",
        logins.logins_of_many_addresses,
    ),
    Attack("forms as browsers send them", "200", dialects.forms_of_browsers),
    Attack("CORS preflights", "allowed, or off by default", dialects.preflights),
    Attack("habits of HTTP clients", "served, or 405 or 400", dialects.habits_of_http),
)
