"""Clients that tools generate from the OpenAPI document run a session; linters find no fault."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

from stack.stack import Stack
from tests.e2e.product import AUDIO, Json, Product

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "build" / "pages" / "openapi.json"
SCRIPTS = ROOT / "tests" / "js"
TOOLS = SCRIPTS / "node_modules" / ".bin"
TAKE = AUDIO / "ref_0890.wav"
SEEDED_TOKEN = 1
MISSING_TOKEN = 2**31 - 1

with_npm = pytest.mark.skipif(
    shutil.which("node") is None or not (TOOLS / "redocly").exists(),
    reason="Node.js and npm are not installed",
)


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run a program; returns what it prints."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"REDOCLY_TELEMETRY": "off"} | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The package that openapi-python-client generates without any warning."""
    folder = tmp_path_factory.mktemp("python")
    name = "generated_sori_client"
    run(
        Path(sys.executable).with_name("openapi-python-client"),
        *("generate", "--path", DOCUMENT, "--output-path", folder / name, "--meta", "none"),
        *("--config", Path(__file__).with_name("openapi_python_client.yaml")),
        "--fail-on-warning",
    )
    sys.path.insert(0, str(folder))
    yield name
    sys.path.remove(str(folder))


def test_every_module_of_the_python_client_can_be_imported(python_client: str) -> None:
    package = import_module(python_client)
    names = [module.name for module in walk_packages(package.__path__, f"{python_client}.")]
    assert f"{python_client}.models.analysis_result" in names
    for name in names:
        import_module(name)


def test_the_python_client_runs_a_session(python_client: str, stack: Stack) -> None:
    def call(service: str, operation: str, **arguments: object) -> Any:
        module = import_module(f"{python_client}.api.{service}.{operation}")
        return module.sync_detailed(client=client, **arguments)

    types = import_module(f"{python_client}.types")
    models = import_module(f"{python_client}.models")
    client = import_module(python_client).Client(base_url=stack.gateway_url)

    token = call("catalog_service", "list_tokens", page_size=1).parsed.tokens[0]
    with TAKE.open("rb") as recording:
        body = models.UploadAudioFormBody(file=types.File(payload=recording, file_name="take.wav"))
        uploaded = call(
            "upload_service",
            "upload_audio_form",
            token_id=SEEDED_TOKEN,
            body=body,
            idempotency_key=str(uuid.uuid4()),
            accept_language="en",
        ).parsed
    job_id = uploaded.job_id
    events = call("analysis_service", "watch_analysis", job_id=job_id).parsed
    ended = call("analysis_service", "get_analysis_result", job_id=job_id).parsed
    missing = call("catalog_service", "get_token", id=MISSING_TOKEN)

    assert token.id >= 1
    assert uploaded.message == "Uploaded; it is being processed in the background."
    assert json.loads(events.rpartition("data: ")[2])["progress"] == 100
    assert ended.status == models.AnalysisResultStatus.COMPLETED
    assert isinstance(ended.result, models.ReferenceAnalyzerOutput)
    assert ended.result.overall_score > 95
    assert missing.status_code == HTTPStatus.NOT_FOUND
    assert missing.parsed.details[0].reason == "TOKEN_NOT_FOUND"


def test_the_python_client_uploads_by_tus(
    python_client: str, stack: Stack, product: Product
) -> None:
    def call(operation: str, **arguments: object) -> Any:
        module = import_module(f"{python_client}.api.tus_service.{operation}")
        version = (
            import_module(f"{python_client}.models")
            .__dict__[f"{operation.title().replace('_', '')}TusResumable"]
            .VALUE_0
        )
        return module.sync_detailed(client=client, tus_resumable=version, **arguments)

    file = import_module(f"{python_client}.types").File
    client = import_module(python_client).Client(base_url=stack.gateway_url)
    with TAKE.open("rb") as recording:
        created = call(
            "create_tus_upload",
            body=file(payload=recording),
            upload_length=TAKE.stat().st_size,
            upload_metadata="token_id MQ==,filename dGFrZS53YXY=",
        )
    upload_id = created.headers["Location"].rpartition("/")[2]
    found = call("get_tus_upload", upload_id=upload_id)

    assert created.status_code == HTTPStatus.CREATED
    assert int(found.headers["Upload-Offset"]) == TAKE.stat().st_size
    assert product.final_result(found.headers["X-Job-Id"])["status"] == "completed"


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """A folder in which TypeScript finds the packages and the sessions."""
    (tmp_path / "node_modules").symlink_to(SCRIPTS / "node_modules")
    for name in ("package.json", "tsconfig.json", "sessions.ts", "session.mjs"):
        shutil.copy(SCRIPTS / name, tmp_path)
    return tmp_path


def typescript_session(workshop: Path, session: str, stack: Stack) -> Json:
    """Check the types of a session, compile it and run it."""
    shutil.copy(SCRIPTS / f"{session}.ts", workshop)
    run(TOOLS / "tsc", "--project", workshop, cwd=workshop)
    printed = run("node", "session.mjs", f"{session}.js", stack.gateway_url, TAKE, cwd=workshop)
    found: Json = json.loads(printed)
    return found


def assert_complete(session: Json) -> None:
    """The session uploaded a take, watched it to its end, and read result and error."""
    assert session["progress"] == sorted(session["progress"])
    assert session["progress"][-1] == 100
    assert session["status"] == "completed"
    assert session["overallScore"] > 95
    assert session["error"] == {"status": 404, "reason": "TOKEN_NOT_FOUND"}


@with_npm
def test_the_types_of_openapi_typescript_fit_a_session(workshop: Path, stack: Stack) -> None:
    run(TOOLS / "openapi-typescript", DOCUMENT, "--output", workshop / "schema.d.ts")
    assert_complete(typescript_session(workshop, "openapi_fetch_session", stack))


@with_npm
def test_the_client_of_orval_runs_a_session(workshop: Path, stack: Stack) -> None:
    run(
        *(TOOLS / "orval", "--config", SCRIPTS / "orval.config.cjs"),
        OPENAPI_DOCUMENT=str(DOCUMENT),
        ORVAL_TARGET=str(workshop / "orval_client.ts"),
        BASE_URL=stack.gateway_url,
    )
    assert_complete(typescript_session(workshop, "orval_session", stack))


@with_npm
def test_redocly_finds_no_fault_in_the_document() -> None:
    options = ("--config", SCRIPTS / "redocly.yaml", "--format", "json")
    found = json.loads(run(TOOLS / "redocly", "lint", *options, DOCUMENT))
    assert found["problems"] == []


@with_npm
def test_spectral_finds_no_fault_in_the_document() -> None:
    rules = SCRIPTS / "spectral.yaml"
    run(TOOLS / "spectral", "lint", "--ruleset", rules, "--fail-severity=hint", DOCUMENT)
