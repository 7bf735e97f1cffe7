"""Properties of every image, and the pins of its build."""

import re
import tomllib
from pathlib import Path

import pytest

from deploy.docker.check.build import copy_context
from deploy.docker.check.dockerfile import read_stages

ROOT = Path(__file__).parents[3]
DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
LOCKS = ("services", "gateway", "analyzer", "contract")

every_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)


def test_every_image_has_a_dockerfile() -> None:
    assert [path.stem for path in DOCKERFILES] == ["analyzer", "gateway", "services"]


@every_dockerfile
def test_it_runs_as_an_unprivileged_user(path: Path) -> None:
    assert last_stage(path)["USER"] == ["65532:65532"]


@every_dockerfile
def test_it_has_a_health_check_and_a_stop_signal(path: Path) -> None:
    stage = last_stage(path)
    assert len(stage["HEALTHCHECK"]) == 1
    assert stage["STOPSIGNAL"] == ["SIGTERM"]
    # A list: the program itself receives the signal, not a shell.
    assert stage["ENTRYPOINT"][0].startswith("[")


@every_dockerfile
def test_its_labels_name_content_and_commit(path: Path) -> None:
    (labels,) = last_stage(path)["LABEL"]
    names = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", labels))
    assert names == {"title", "description", "licenses", "version", "revision"}


@every_dockerfile
def test_its_licence_label_names_every_licence_of_its_code(path: Path) -> None:
    (labels,) = last_stage(path)["LABEL"]
    (expression,) = re.findall(r'image\.licenses="([^"]+)"', labels)
    ffmpeg = {"LGPL-3.0-or-later"} if path.stem == "analyzer" else set()
    assert set(expression.split(" AND ")) == {"Apache-2.0"} | ffmpeg


@every_dockerfile
def test_all_images_share_one_base_pinned_by_digest(path: Path) -> None:
    bases = {stage.base for each in DOCKERFILES for stage in read_stages(each)}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", bases.pop())
    assert ":latest" not in path.read_text()


@every_dockerfile
def test_the_context_has_every_file_that_a_step_mounts(path: Path, tmp_path: Path) -> None:
    copy_context(ROOT, tmp_path / "context")
    mounted = set(re.findall(r"type=bind,source=([^,]+),", path.read_text()))
    assert mounted
    assert not [each for each in mounted if not (tmp_path / "context" / each).exists()]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_the_tested_versions(name: str) -> None:
    tested = pins(ROOT / "requirements" / "dev.txt")
    locked = pins(ROOT / "requirements" / f"{name}.txt")
    assert locked
    assert locked <= tested


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_every_declared_package(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = project["dependencies"] if name == "services" else extras[name]
    wanted = {re.split(r"[\[<>=;]", each)[0].strip() for each in named}
    assert wanted <= {package for package, _ in pins(ROOT / "requirements" / f"{name}.txt")}


def last_stage(path: Path) -> dict[str, list[str]]:
    """The values of the last stage's instructions, by name."""
    found: dict[str, list[str]] = {}
    for each in read_stages(path)[-1].instructions:
        found.setdefault(each.name, []).append(each.value)
    return found


def pins(path: Path) -> set[tuple[str, str]]:
    """The names and versions in a lock file."""
    return set(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", path.read_text(), re.MULTILINE))
