"""The texts of mails, in Korean and English. Pure.

No text contains input of a caller, such as a name. Otherwise, a stranger could make the service
send any sentence or link to any address.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from html import escape

from services.runtime.language import Language, LearnerMessage


class Kind(StrEnum):
    """The subject of a mail."""

    VERIFY_EMAIL = "verify_email"
    ACCOUNT_EXISTS = "account_exists"
    RESET_PASSWORD = "reset_password"  # noqa: S105 (a name)
    CHANGE_EMAIL = "change_email"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    EMAIL_CHANGED = "email_changed"


@dataclass(frozen=True)
class MailText:
    """The content of one mail."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class _Template:
    """button: the label of the link; None for a mail without one."""

    subject: LearnerMessage
    before: LearnerMessage
    after: LearnerMessage
    button: LearnerMessage | None = None


def mail_text(kind: Kind, language: Language, link: str = "") -> MailText:
    """The content of a mail. link: where its button leads; empty for a mail without one."""
    template = _TEMPLATES[kind]
    subject = template.subject.text(language)
    before, after = template.before.text(language), template.after.text(language)
    button = template.button.text(language) if template.button else ""
    signature = _SIGNATURE.text(language)
    paragraphs = [before, *([f"{button}:\n{link}"] if button else []), after, signature]
    return MailText(
        subject,
        "\n\n".join(paragraphs) + "\n",
        _html(language, subject, before, button, link, after, signature),
    )


def _html(
    language: Language,
    subject: str,
    before: str,
    button: str,
    link: str,
    after: str,
    signature: str,
) -> str:
    parts = [_paragraph(before)]
    if button:
        url = escape(link)
        parts += [
            f'<p><a href="{url}" style="{_BUTTON}">{escape(button)}</a></p>',
            f'<p style="{_SMALL}"><a href="{url}">{url}</a></p>',
        ]
    parts += [_paragraph(after), f'<p style="{_SMALL}">{_lines(signature)}</p>']
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head><meta charset="utf-8">'
        f"<title>{escape(subject)}</title></head>\n"
        f'<body style="{_BODY}">\n' + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _paragraph(text: str) -> str:
    return f"<p>{_lines(text)}</p>"


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>\n")


_BODY = (
    "margin:0 auto;max-width:32rem;padding:1.5rem;color:#222;"
    "font-family:'Apple SD Gothic Neo','Malgun Gothic',sans-serif;font-size:16px;line-height:1.6"
)
_BUTTON = (
    "display:inline-block;padding:.75rem 1.25rem;border-radius:.5rem;background:#3b5bdb;"
    "color:#fff;text-decoration:none"
)
_SMALL = "color:#666;font-size:13px;word-break:break-all"

_SIGNATURE = LearnerMessage(
    "소리 드림\n이 메일은 보내기만 하는 주소에서 보냈어요.",
    "Sori\nThis address does not receive mail.",
)
_IGNORE = LearnerMessage(
    "직접 요청하지 않았다면 이 메일을 무시해 주세요. 아무것도 바뀌지 않아요.",
    "If you did not ask for this, ignore this mail. Nothing will change.",
)
_CHANGED_BY_OTHERS = LearnerMessage(
    "직접 바꾸지 않았다면 다른 사람이 계정에 접근했을 수 있어요. 지금 비밀번호를 재설정하고 "
    "고객센터에 알려 주세요.",
    "If this was not you, someone else may have access to your account. Reset your password now "
    "and contact our support.",
)
_TEMPLATES = {
    Kind.VERIFY_EMAIL: _Template(
        LearnerMessage("[소리] 이메일 주소를 인증해 주세요", "Verify your e-mail address for Sori"),
        LearnerMessage(
            "소리에 가입해 주셔서 감사합니다.\n아래 링크를 눌러 이메일 주소를 인증하면 가입이 "
            "끝나요. 링크는 24시간 동안 한 번만 쓸 수 있어요.",
            "Thank you for signing up for Sori.\nOpen the link below to verify your e-mail address "
            "and finish your sign-up. The link works once, within 24 hours.",
        ),
        LearnerMessage(
            "직접 가입하지 않았다면 링크를 누르지 말고 이 메일을 무시해 주세요.",
            "If you did not sign up, do not open the link. Ignore this mail.",
        ),
        LearnerMessage("이메일 인증하기", "Verify e-mail address"),
    ),
    Kind.ACCOUNT_EXISTS: _Template(
        LearnerMessage("[소리] 이미 가입된 이메일 주소예요", "You already have a Sori account"),
        LearnerMessage(
            "누군가 이 이메일 주소로 소리에 가입하려고 했지만, 이미 계정이 있어요.\n평소처럼 "
            "로그인해 주세요. 비밀번호를 잊었다면 아래 링크에서 새로 정할 수 있어요. 링크는 1시간 "
            "동안 한 번만 쓸 수 있어요.",
            "Someone tried to sign up for Sori with this e-mail address, but it already has an "
            "account.\nLog in as usual. If you forgot your password, open the link below to choose "
            "a new one. The link works once, within an hour.",
        ),
        _IGNORE,
        LearnerMessage("비밀번호 새로 정하기", "Choose a new password"),
    ),
    Kind.RESET_PASSWORD: _Template(
        LearnerMessage("[소리] 비밀번호를 새로 정해 주세요", "Reset your Sori password"),
        LearnerMessage(
            "비밀번호 재설정을 요청하셨어요.\n아래 링크를 눌러 새 비밀번호를 정해 주세요. 링크는 "
            "1시간 동안 한 번만 쓸 수 있어요.",
            "You asked to reset your password.\nOpen the link below to choose a new one. The link "
            "works once, within an hour.",
        ),
        _IGNORE,
        LearnerMessage("비밀번호 새로 정하기", "Choose a new password"),
    ),
    Kind.CHANGE_EMAIL: _Template(
        LearnerMessage("[소리] 새 이메일 주소를 확인해 주세요", "Confirm your new e-mail address"),
        LearnerMessage(
            "소리 계정의 이메일 주소를 이 주소로 바꾸려고 해요.\n아래 링크를 누르면 주소가 "
            "바뀌어요. 링크는 24시간 동안 한 번만 쓸 수 있어요.",
            "You are about to change the e-mail address of your Sori account to this one.\nOpen "
            "the link below to confirm the change. The link works once, within 24 hours.",
        ),
        _IGNORE,
        LearnerMessage("이메일 주소 바꾸기", "Change e-mail address"),
    ),
    Kind.PASSWORD_CHANGED: _Template(
        LearnerMessage("[소리] 비밀번호가 바뀌었어요", "Your Sori password was changed"),
        LearnerMessage(
            "소리 계정의 비밀번호가 방금 바뀌었어요.",
            "The password of your Sori account was just changed.",
        ),
        _CHANGED_BY_OTHERS,
    ),
    Kind.EMAIL_CHANGED: _Template(
        LearnerMessage("[소리] 이메일 주소가 바뀌었어요", "Your Sori e-mail address was changed"),
        LearnerMessage(
            "소리 계정의 이메일 주소가 다른 주소로 바뀌었어요.\n이제 이 주소로는 로그인할 수 "
            "없어요.",
            "The e-mail address of your Sori account was changed to another one. You can no longer "
            "log in with this address.",
        ),
        LearnerMessage(
            "직접 바꾸지 않았다면 바로 고객센터에 알려 주세요.",
            "If this was not you, contact our support immediately.",
        ),
    ),
}
