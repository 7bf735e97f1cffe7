"""The prose check finds refused phrases in every kind of file, and accepts good prose."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

STYLE = Path(__file__).parents[2] / "docs" / "style"


def loaded(path: Path) -> ModuleType:
    """The check, which is a script and belongs to no package."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


style = loaded(STYLE / "check.py")
RULES = style.read_rules((STYLE / "banned_phrases.txt").read_text("utf-8"))


def found(path: str, text: str) -> list[tuple[int, str]]:
    return [(each.line, each.phrase.lower()) for each in style.check(path, text, RULES)]


PHRASE = [(2, "is told")]
FILES = {
    "docstring": ("a.py", 'def f() -> None:\n    """The caller is told."""\n'),
    "comment": ("a.py", "x = 1\n# The caller is told.\n"),
    "comment after code": ("a.py", "x = 1\ny = 2  # the caller is told\n"),
    "message": ("a.py", "try:\n    raise ValueError(f'{x} is told')\n"),
    "name of a test": ("a.py", "\ndef test_a_caller_is_told() -> None: ...\n"),
    "name of an async test": ("a.py", "\nasync def test_a_caller_is_told() -> None: ...\n"),
    "proto": ("a.proto", 'syntax = "proto3";\n// The caller is told.\n'),
    "proto, after code": ("a.proto", "enum A {\n  A_B = 0; // the caller is told\n}\n"),
    "Markdown": ("a.md", "# Title\nThe caller is told.\n"),
    "YAML comment": ("a.yaml", "a: 1\n# The caller is told.\n"),
    "YAML value": ("a.yaml", "a: 1\ndescription: The caller is told.\n"),
    "Lua": ("a.lua", "local a = 1\n-- The caller is told.\n"),
    "shell": ("a.sh", "#!/bin/sh\n# The caller is told.\n"),
    "template": ("a.yaml.j2", "a: 1\n# The caller is told.\n"),
    "Dockerfile": ("services.Dockerfile", "FROM a\n# The caller is told.\n"),
    "TOML": ("a.toml", "a = 1\nb = 2 # the caller is told\n"),
    "Makefile": ("Makefile", "a:\nb: ## The caller is told.\n"),
}


@pytest.mark.parametrize(("path", "text"), FILES.values(), ids=FILES)
def test_a_refused_phrase_is_found_with_its_line(path: str, text: str) -> None:
    assert style.is_checked(path)
    assert found(path, text) == PHRASE


WRAPPED = {
    "docstring": ("a.py", 'def f() -> None:\n    """The caller is\n    told.\n    """\n'),
    "continued string": ("a.py", 'x = 1\ny = """The caller is \\\ntold."""\n'),
    "comment": ("a.py", "x = 1\n# The caller is\n# told.\n"),
    "proto": ("a.proto", "\n  // The caller is\n  // told.\n"),
    "Markdown": ("a.md", "\nThe caller is\ntold.\n"),
    "YAML": ("a.yaml", "a: 1\n  # The caller is\n  # told.\n"),
    "Lua": ("a.lua", "\n-- The caller is\n-- told.\n"),
}


@pytest.mark.parametrize(("path", "text"), WRAPPED.values(), ids=WRAPPED)
def test_a_phrase_that_continues_on_the_next_line_is_found_at_its_first(
    path: str, text: str
) -> None:
    assert found(path, text) == PHRASE


def test_an_empty_line_ends_a_phrase() -> None:
    assert found("a.md", "What it is\n\ntold here\n") == []


CODE = {
    "names": ("a.py", "def is_told(told: bool) -> bool:\n    return told is told\n"),
    "proto": ("a.proto", "message IsTold { bool is = 1; string told = 2; }\n"),
    "shell": ("a.sh", "is told\n"),
    "Korean": ("a.md", "업로드가 끝났어요. 다시 시도해 주세요.\n"),
}


@pytest.mark.parametrize(("path", "text"), CODE.values(), ids=CODE)
def test_code_and_other_languages_are_no_findings(path: str, text: str) -> None:
    assert found(path, text) == []


@pytest.mark.parametrize("path", ["a.wav", "docs/style/banned_phrases.txt", "tests/unit/x.png"])
def test_files_without_prose_are_skipped(path: str) -> None:
    assert not style.is_checked(path)


REFUSED = """\
A watcher has been told.
Told twice, it ends.
Each program tells its health.
An upload that is not heard of for so long fails.
Its client was not heard.
Who uploads a take waits.
The job belongs to who holds the lease.
Whoever calls has a deadline.
The bytes of which nobody knows are lost.
What was received stays.
Nobody calls the service.
The service is called by nobody.
It knows whom it speaks to.
It belongs to whom the setting names.
An image informs the one who runs it.
The address is never anybody's.
An upload is gone on with.
The upload goes on where it stopped.
A reaper looks after uploads.
Send it as often as it takes.
Buffers are given to the pool, which gives back memory.
The digest is put away.
The channel hands on the context.
A restart mends the service.
An id that is none gives 404.
An answer of 500 and none at all are retried.
A text that is no number is refused.
The body is no JSON.
It is not so that the image starts.
The upload is whole.
The stream states its wholeness.
This is the least that S3 takes.
A part has 5 MiB at the least.
The page size is cut to the most.
So many bytes are durable.
It runs for ever.
A stream without messages for so long ends.
It reads from offset on.
The service replies at once, so that the client continues.
A small take comes at once.
A job comes to its end.
In the end the job fails.
Let the time of the upload be over.
The upload begins anew.
The client needs it anyhow.
A worker runs beside the server.
The file is put together of parts.
The own answers of the gateway are JSON.
The call is to be repeated.
The header needs not exist.
The stream and the parts thereof are equal.
""".splitlines()


@pytest.mark.parametrize("sentence", REFUSED)
def test_a_sentence_in_bad_style_is_refused(sentence: str) -> None:
    assert found("a.md", sentence)


def test_every_rule_has_an_example() -> None:
    unused = [
        rule.pattern.pattern
        for rule in RULES
        if not any(rule.pattern.search(sentence) for sentence in REFUSED)
    ]
    assert unused == []


GOOD = """\
The person who uploads takes is the learner; a client who is authorised may read them.
There is no recording, and there is none to reuse. None of the jobs is lost.
There is no number that is no longer valid.
Reads go to replicas on other hosts; from now on they are cached, from 3 onwards too.
The service continues with the next part and handles the rest in parallel.
The upload is complete, at least 5 MiB and at most 5 GiB.
A hands-on guide recommends what to do. On the one hand it is short.
A caller that waits receives a message as soon as the job ends.
The setting says not to retry. It needs not only a key but a certificate.
Besides the gateway, each service reports its own health.
It ran for so long that the lease expired. It was so many times that nobody else noticed.
What is a token? A practice clip.
The whole file is read at once.
The deadline is None for a call without one.
""".splitlines()


@pytest.mark.parametrize("sentence", GOOD)
def test_good_prose_passes(sentence: str) -> None:
    assert found("a.md", sentence) == []


def run(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(STYLE / "check.py"), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_findings_with_advice_and_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("The caller is told.\n")
    done = run(page)
    assert done.returncode == 1
    assert f"{page}:1: 'is told': write" in done.stdout


def test_the_command_succeeds_for_good_prose(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("The caller receives an error.\n")
    done = run(page)
    assert (done.returncode, done.stdout) == (0, "")
