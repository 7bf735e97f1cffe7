"""The analyzer's image contains no code under the GPL, and still decodes what it must."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from deploy.docker.without_gpl import (
    GPL_LIBRARIES,
    LARGEST_STUB_BYTES,
    machine_of,
    main,
    stub,
)

ROOT = Path(__file__).parents[3]
DECODE = """
import sys, av
with av.open(sys.argv[1]) as container:
    print(av.__file__, sum(frame.samples for frame in container.decode(audio=0)))
"""
ARM64 = 183


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of PyAV from which the program has removed the GPL's libraries."""
    spec = find_spec("av")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parents[1]
    folder = tmp_path_factory.mktemp("packages")
    for name in ("av", "av.libs"):
        shutil.copytree(installed / name, folder / name)
    main(folder / "av.libs")
    return folder


def test_only_stubs_are_left_of_the_gpl_libraries(packages: Path) -> None:
    sizes = {
        match[1]: path.stat().st_size
        for path in (packages / "av.libs").iterdir()
        if (match := GPL_LIBRARIES.fullmatch(path.name))
    }
    assert sizes.keys() == {"x264", "x265"}
    assert max(sizes.values()) < LARGEST_STUB_BYTES


def test_ffmpeg_itself_is_under_the_lgpl(packages: Path) -> None:
    for name in ("libavcodec", "libavformat", "libavutil", "libswresample"):
        (path,) = (packages / "av.libs").glob(f"{name}-*")
        licence = getattr(ctypes.CDLL(str(path)), f"{name.removeprefix('lib')}_license")
        licence.restype = ctypes.c_char_p
        assert licence() == b"LGPL version 3 or later"


@pytest.mark.parametrize("name", ["take_0890_close.webm", "ref_0890.wav"])
def test_audio_is_decoded_without_them(packages: Path, name: str) -> None:
    command = [sys.executable, "-c", DECODE, str(ROOT / "samples" / name)]
    environment = {"PYTHONPATH": str(packages)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    origin, samples = done.stdout.split()
    assert Path(origin).is_relative_to(packages)
    assert int(samples) > 0


def test_a_stub_is_built_for_arm64_on_any_machine() -> None:
    assert machine_of(stub("libx264-0.so.1", ["x264_encoder_open"], ARM64)) == ARM64
