"""The builder of `make image-check` executes Dockerfiles; the check itself covers RUN."""

from pathlib import Path

import pytest

from deploy.docker.check.build import Build, copy_context
from deploy.docker.check.dockerfile import DockerfileError, Image


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A build on a base with one file, from a context with a folder and a file."""
    base, context = tmp_path / "base", tmp_path / "context"
    for path, text in ((base / "etc" / "os", "base"), (context / "code" / "a.py", "a")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (context / "b.txt").write_text("b")
    return Build(context, base, tmp_path / "work", {"VERSION": "1.2.3"})


def run(build: Build, tmp_path: Path, text: str) -> tuple[Path, Image]:
    """Build from the text of a Dockerfile."""
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(text)
    return build.run(dockerfile)


def test_a_stage_starts_from_its_base_and_copies_from_an_earlier_one(
    build: Build, tmp_path: Path
) -> None:
    root, _ = run(
        build,
        tmp_path,
        "FROM x AS first\nWORKDIR /made\nCOPY code b.txt ./\n"
        "FROM x\nCOPY --from=first /made /app\n",
    )
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files == {"etc/os", "app/a.py", "app/b.txt"}


def test_a_file_can_get_another_name(build: Build, tmp_path: Path) -> None:
    root, _ = run(build, tmp_path, "FROM x\nCOPY b.txt /deep/c.txt\n")
    assert (root / "deep" / "c.txt").read_text() == "b"


def test_variables_are_replaced_by_their_values(build: Build, tmp_path: Path) -> None:
    _, image = run(
        build,
        tmp_path,
        "FROM x\nENV PATH=/opt/bin:$PATH\nARG VERSION=unknown\nARG OTHER=none\n"
        'LABEL version="${VERSION}" other="$OTHER"\n',
    )
    assert image.environment["PATH"].startswith("/opt/bin:/usr/local/sbin:")
    assert image.labels == {"version": "1.2.3", "other": "none"}


def test_an_argument_before_the_first_stage_names_its_base(build: Build, tmp_path: Path) -> None:
    root, _ = run(build, tmp_path, "ARG BASE=python:3@sha256:0\nFROM ${BASE}\n")
    assert (root / "etc" / "os").read_text() == "base"


def test_the_configuration_of_the_image_is_read(build: Build, tmp_path: Path) -> None:
    _, image = run(
        build,
        tmp_path,
        'FROM x\nUSER 1:1\nENTRYPOINT ["python", "-m"]\nCMD ["it"]\nSTOPSIGNAL SIGINT\n'
        'HEALTHCHECK --interval=5s CMD ["ask", "me"]\n',
    )
    assert image.entrypoint + image.command == ["python", "-m", "it"]
    assert image.healthcheck == ["ask", "me"]
    assert (image.user, image.stop_signal) == ("1:1", "SIGINT")


@pytest.mark.parametrize(
    "instruction",
    ["ONBUILD RUN x", "COPY --link b.txt /", "RUN --network=none x"],
)
def test_unsupported_instructions_are_errors(
    build: Build, tmp_path: Path, instruction: str
) -> None:
    with pytest.raises(DockerfileError, match="not supported"):
        run(build, tmp_path, f"FROM x\n{instruction}\n")


def test_a_context_has_no_ignored_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "code" / "__pycache__").mkdir(parents=True)
    for name in ("code/a.py", "code/__pycache__/a.pyc", ".env"):
        (source / name).write_text("")
    (source / ".dockerignore").write_text("*\n!code\n**/__pycache__\n")
    context = copy_context(source, tmp_path / "context")
    files = {path.name for path in context.rglob("*") if path.is_file()}
    assert files == {"a.py", ".dockerignore"}
