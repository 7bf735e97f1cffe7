"""The mail sink of the local stack as a process."""

from __future__ import annotations

import smtplib
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import IO

import pytest

from stack.ports import free_ports
from tests.mails import Mailbox

LINK = "http://localhost:8000/verify-email#token=abc"


@pytest.fixture
def output(tmp_path: Path) -> Iterator[tuple[int, IO[str]]]:
    """The port of a sink that listens, and its standard output."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "stack.mail_sink", f"127.0.0.1:{port}", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("mail sink on 127.0.0.1:")
        yield port, process.stdout
        process.terminate()
    assert process.returncode == 0


def test_a_mail_becomes_a_file_and_its_link_is_printed(
    tmp_path: Path, output: tuple[int, IO[str]]
) -> None:
    port, lines = output
    message = EmailMessage()
    message["From"], message["To"] = "sori@example.com", "minji@example.com"
    message["Subject"] = "이메일 주소를 인증해 주세요"
    message.set_content(f"아래 링크를 눌러 주세요:\n{LINK}\n")
    message.add_alternative(f'<a href="{LINK}">링크</a>', subtype="html")
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.send_message(message)
    (mail,) = Mailbox(tmp_path).mails()
    assert (mail.recipient, mail.subject) == ("minji@example.com", message["Subject"])
    assert mail.token == "abc"
    assert lines.readline() == "mail to minji@example.com: 이메일 주소를 인증해 주세요\n"
    assert lines.readline().strip() == LINK
