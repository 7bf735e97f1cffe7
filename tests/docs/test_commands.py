"""The shell commands of the documents work as printed, from top to bottom, on a fresh stack."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.environment import ROOT
from stack.stack import Stack
from tests.docs.markdown import Block, blocks, documents
from tests.stacks import new_stack

PRINTED_ADDRESS = "localhost:8000"
SHELLS = re.compile(r"sh|bash|shell|console|zsh")
RUNNABLE = [each for each in documents() if any(block.is_run for block in blocks(each))]
CURL_SETTINGS = "silent\nshow-error\nfail-with-body\nmax-time = 60\n"

# One stack for all documents: with pytest-xdist they stay on one worker.
pytestmark = pytest.mark.xdist_group("docs")


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # As `make up` has it, not as other tests.
    roles = {"GATEWAY_ANONYMOUS_ROLES": "catalog_editor"}
    with new_stack(tmp_path_factory.mktemp("stack"), roles) as stack:
        yield stack


@pytest.fixture
def environment(stack: Stack, tmp_path: Path) -> dict[str, str]:
    """The environment of a reader, in which a refused HTTP request fails its command."""
    (tmp_path / ".curlrc").write_text(CURL_SETTINGS)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**stack.environment, "PATH": path, "HOME": str(tmp_path), "CURL_HOME": str(tmp_path)}


def script_of(document: Path, address: str) -> str:
    """All blocks that are run, as one script that names each block before it runs it."""
    script = ["set -euo pipefail"]
    for block in blocks(document):
        if block.is_run:
            script += [f"echo '# {name_of(document)}:{block.line}' >&2", block.text]
    return "\n".join(script).replace(PRINTED_ADDRESS, address)


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_each_shell_block_is_run_or_marked(document: Path) -> None:
    unclear = [block.line for block in blocks(document) if not _is_clear(block)]
    assert not unclear, f"lines {unclear}: write ```sh, or ```sh no-run with a reason nearby"


def _is_clear(block: Block) -> bool:
    language = block.info.partition(" ")[0]
    return not SHELLS.fullmatch(language) or block.info in ("sh", "sh no-run")


@pytest.mark.parametrize("document", RUNNABLE, ids=name_of)
def test_the_commands_of_a_document_work(
    document: Path, stack: Stack, environment: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "commands.sh"
    script.write_text(script_of(document, stack.gateway_address), "utf-8")
    result = subprocess.run(
        ["bash", script],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    assert result.returncode == 0, f"This is where it stopped:\n{result.stdout[-4000:]}"
