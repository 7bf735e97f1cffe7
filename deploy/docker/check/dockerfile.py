"""Parses Dockerfiles: stages, their instructions, and the parts of an instruction."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser
from dockerfile_parse.util import WordSplitter, get_key_val_dictionary


class DockerfileError(Exception):
    """A Dockerfile is invalid, or uses something that is not supported."""


@dataclass(frozen=True)
class Instruction:
    """One instruction, such as `COPY` with the value `--from=build /app /app`."""

    name: str
    value: str

    def pairs(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The value as NAME=value pairs."""
        return dict(get_key_val_dictionary(self.value, env_replace=True, envs=variables))

    def split(self) -> tuple[list[tuple[str, str]], str]:
        """The leading options, `--name=value`, and the rest."""
        options, rest = [], self.value
        while rest.startswith("--"):
            option, _, rest = rest.partition(" ")
            name, _, value = option.removeprefix("--").partition("=")
            options.append((name, value))
            rest = rest.lstrip()
        return options, rest


@dataclass(frozen=True)
class Stage:
    """The instructions between one `FROM` and the next."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]


@dataclass
class Image:
    """The configuration of an image."""

    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"


def read_stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile; `FROM` can use the ARGs before the first stage."""
    structure = DockerfileParser(fileobj=io.BytesIO(path.read_bytes())).structure
    every = [
        Instruction(each["instruction"], each["value"])
        for each in structure
        if each["instruction"] != "COMMENT"
    ]
    first = next(index for index, each in enumerate(every) if each.name == "FROM")
    arguments: dict[str, str] = {}
    for each in every[:first]:
        arguments |= each.pairs(arguments)
    return list(_stages(every[first:], arguments))


def _stages(instructions: list[Instruction], arguments: Mapping[str, str]) -> list[Stage]:
    starts = [index for index, each in enumerate(instructions) if each.name == "FROM"]
    stages = []
    for start, end in zip(starts, [*starts[1:], len(instructions)], strict=True):
        base, *name = words(instructions[start].value, arguments)
        stages.append(Stage(base, name[-1] if name else "", tuple(instructions[start + 1 : end])))
    return stages


def words(value: str, variables: Mapping[str, str]) -> list[str]:
    """The words of a value, with variables replaced."""
    return list(WordSplitter(value, envs=variables).split())


def command_of(value: str) -> list[str]:
    """The command of a value: a JSON list as it is, anything else through the shell."""
    if value.startswith("["):
        parts: list[str] = json.loads(value)
        return parts
    return ["/bin/sh", "-c", value]
