"""`python -m stack up|down|logs|clean|demo`: the local stack from the command line."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    # Until the imports below are done, Ctrl-C ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import grpc
import httpx
from pydantic import ValidationError
from rich.console import Console

from stack.demo import run_demo
from stack.environment import user_environment
from stack.errors import StackError, sentence_of
from stack.lock import is_locked, read_holder, wait_until_unlocked
from stack.settings import StackSettings
from stack.up import up

# The stack creates these in its data directory, and deletes nothing else there.
_CREATED_FOLDERS = ("postgres", "s3", "mail", "logs")
_CREATED_FILES = ("secrets.env", "stack.json", "lock")

console = Console()


def main() -> int:
    """Run one command; returns the exit status."""
    arguments = _parser().parse_args()
    try:
        environment = user_environment()
        settings = StackSettings.from_environment(environment)
        match arguments.command:
            case "up":
                up(settings, environment, console, seeded=not arguments.no_seed)
            case "down":
                down(settings.data_dir)
            case "logs":
                logs(settings.data_dir, arguments.programs, arguments.lines)
            case "clean":
                clean(settings.data_dir)
            case "demo":
                run_demo()
            case command:
                raise AssertionError(f"The parser accepted an unknown command: {command}.")
    except KeyboardInterrupt:
        _complain("Interrupted.")
        return 128 + signal.SIGINT
    except (ValidationError, StackError, grpc.RpcError, httpx.HTTPError, OSError) as error:
        _complain(_sentence(error))
        return 1
    return 0


def _complain(sentence: str) -> None:
    console.print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problems = (
            ": ".join([*(str(place).upper() for place in each["loc"]), each["msg"]])
            for each in error.errors()
        )
        return "\n".join(["These settings of the stack are invalid:", *problems])
    if isinstance(error, grpc.RpcError):
        return f"A service refused a call of the stack: {error.details()}"
    if isinstance(error, httpx.HTTPError):
        return f"A request of the stack failed: {error}"
    return sentence_of(error) if isinstance(error, OSError) else str(error)


def down(data_dir: Path) -> None:
    """Stop the stack that uses the data directory, in whichever terminal it runs."""
    holder = read_holder(data_dir)
    if not is_locked(data_dir) or holder is None:
        console.print(f"No stack uses {data_dir}.", highlight=False, soft_wrap=True)
        return
    os.kill(holder.pid, signal.SIGTERM)
    if not wait_until_unlocked(data_dir):
        raise StackError(f"The stack does not stop. Kill the process {holder.pid}.")
    console.print("Stopped.")


def logs(data_dir: Path, programs: list[str], lines: int) -> None:
    """Follow the logs until Ctrl-C.

    programs: names; empty for all.
    lines: how many of the last lines are printed first.
    """
    folder = data_dir / "logs"
    wanted = [folder / f"{name}.log" for name in programs] or sorted(folder.glob("*.log"))
    missing = [path.stem for path in wanted if not path.exists()]
    if missing or not wanted:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.log"))) or "none yet"
        raise StackError(f"No such log: {', '.join(missing) or 'any'}. Existing logs: {known}.")
    tail = shutil.which("tail")
    if tail is None:
        raise StackError(f"`tail` is missing. The logs are in {folder}.")
    os.execv(tail, [tail, "-n", str(lines), "-F", *map(str, wanted)])  # noqa: S606


def clean(data_dir: Path) -> None:
    """Stop the stack and delete its data permanently."""
    if is_locked(data_dir):
        down(data_dir)
    for name in _CREATED_FOLDERS:
        shutil.rmtree(data_dir / name, ignore_errors=True)
    for name in _CREATED_FILES:
        (data_dir / name).unlink(missing_ok=True)
    if data_dir.is_dir() and not any(data_dir.iterdir()):
        data_dir.rmdir()
    console.print(f"Deleted the data in {data_dir}.", highlight=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stack", description="The local stack of Sori.")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="start everything in the foreground; Ctrl-C stops it")
    starting.add_argument("--no-seed", action="store_true", help="without the sample catalog")
    commands.add_parser("down", help="stop the stack that `up` started")
    following = commands.add_parser("logs", help="follow the logs")
    following.add_argument("programs", nargs="*", metavar="program", help="default: all")
    following.add_argument(
        "-n", "--lines", type=int, default=20, help="how many of the last lines are printed first"
    )
    commands.add_parser("clean", help="stop the stack and delete its data permanently")
    commands.add_parser("demo", help="analyse a real recording on a separate stack")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
