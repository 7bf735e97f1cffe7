"""Forms as browsers, upload widgets and older programs send them, through the gateway."""

from __future__ import annotations

import pytest

from tests.e2e.product import AUDIO, Product

CONTENT = (AUDIO / "take_0890_close.webm").read_bytes()
FIELD = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\n%b\r\n'
END = b"--b--\r\n"

FORMS = {
    "Uppy": FIELD % (b"name", b"take.webm") + FILE % (b"take.webm", CONTENT),
    "FilePond": FIELD % (b"file", b"{}") + FILE % (b"take.webm", CONTENT),
    "fields after the file": FILE % (b"take.webm", CONTENT) + FIELD % (b"note", b"1"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_fields_of_an_upload_widget_are_ignored(
    product: Product, held_token: int, form: bytes
) -> None:
    assert file_name_of_upload(product, held_token, form) == "take.webm"


def test_curl_on_a_korean_windows_uploads_a_file_with_a_korean_name(
    product: Product, held_token: int
) -> None:
    form = FILE % ("수지.webm".encode("cp949"), CONTENT)
    assert file_name_of_upload(product, held_token, form) == "수지.webm"


def file_name_of_upload(product: Product, token_id: int, form: bytes) -> str:
    """Upload a form; returns the file name that the analysis has."""
    answer = product.gateway.post(
        f"/tokens/{token_id}/upload-audio",
        content=form + END,
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert answer.status_code == 200, answer.text
    recording = product.analysis(answer.json()["job_id"])["recording"]
    assert int(recording["size"]) == len(CONTENT)
    return str(recording["file_name"])
