"""Errors of the accounts service."""

from __future__ import annotations

from grpc import StatusCode

from services.accounts.password_policy import Problem
from services.runtime.errors import SoriError

PASSWORD_CHECK_RETRY_SECONDS = 2


class CredentialsInvalid(
    SoriError,
    code=StatusCode.UNAUTHENTICATED,
    developer="The credentials are wrong. Check them, or reset the password.",
    korean="이메일이나 비밀번호가 올바르지 않습니다. 다시 확인해 주세요.",
    english="The e-mail address or the password is wrong. Check them and try again.",
):
    """The account does not exist, or the password or client secret is wrong."""


class EmailUnverified(
    SoriError,
    code=StatusCode.PERMISSION_DENIED,
    developer=(
        "The e-mail address is not verified. Open the link in the mail, or request another one "
        "(POST /auth/resend-verification)."
    ),
    korean="이메일 인증이 필요합니다. 메일에 있는 링크를 눌러 주세요.",
    english="Your e-mail address is not verified yet. Open the link in the mail.",
):
    """The password is right, but the learner has not confirmed the e-mail address."""


class SecondFactorRequired(
    SoriError,
    code=StatusCode.UNAUTHENTICATED,
    developer="The account has a second factor. Send a valid `totp_code`, or a `passkey`.",
    korean="인증 앱의 6자리 코드나 복구 코드를 입력하거나 패스키로 확인해 주세요.",
    english="Enter the code of your authenticator app or a recovery code, or use a passkey.",
):
    """The second factor is missing or wrong; metadata: factors, such as "passkey totp"."""


class SessionEnded(
    SoriError,
    code=StatusCode.UNAUTHENTICATED,
    developer="The refresh token is unknown, used, expired or revoked. Log in again.",
    korean="로그인이 만료되었습니다. 다시 로그인해 주세요.",
    english="Your session has ended. Log in again.",
):
    """A refresh token cannot be exchanged."""


class CrossSiteRequest(
    SoriError,
    code=StatusCode.PERMISSION_DENIED,
    developer=(
        "A call that uses the cookie of the refresh token must state that a page of this site "
        "sent it: add the header `X-Requested-With: fetch`."
    ),
    korean="허용되지 않은 요청입니다. 페이지를 새로고침한 뒤 다시 시도해 주세요.",
    english="This request is not allowed. Reload the page and try again.",
):
    """A call with the cookie may come from a page of another site."""


class MailTokenInvalid(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="The token of the link is unknown, used or expired. Request another mail.",
    korean="링크가 만료되었거나 이미 사용되었습니다. 메일을 다시 요청해 주세요.",
    english="The link has expired or was used already. Request another mail.",
):
    """The token of a mail is unknown, used or expired."""


class PasswordRefused(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="The password is refused: {problem}. Send another one.",
    korean="사용할 수 없는 비밀번호입니다. 다른 비밀번호를 정해 주세요.",
    english="This password cannot be used. Choose another one.",
):
    """The policy refuses a new password; metadata: problem. The learner reads the advice for it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem=problem.name)
        self.learner = problem.advice


class PasswordChecksExhausted(
    SoriError,
    code=StatusCode.RESOURCE_EXHAUSTED,
    developer="This server checks {limit} passwords, which is its limit. Retry in {seconds} s.",
    korean="잠시 이용자가 많습니다. 잠시 후 다시 시도해 주세요.",
    english="The service is busy. Try again in a moment.",
    http_status=503,
):
    """A process checks as many passwords as it may; metadata: limit, seconds."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit, seconds=PASSWORD_CHECK_RETRY_SECONDS)
        self.retry_seconds = PASSWORD_CHECK_RETRY_SECONDS


class IdTokenInvalid(
    SoriError,
    code=StatusCode.UNAUTHENTICATED,
    developer="The id token is refused: {problem}. Get a new one from the provider.",
    korean="로그인하지 못했습니다. 다시 시도해 주세요.",
    english="The login failed. Try again.",
):
    """The id token of a provider is refused; metadata: problem, without the token."""


class ProviderUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    developer="The login provider {provider} does not respond. Retry in a few seconds.",
    korean="지금은 이 방법으로 로그인할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    english="This way to log in does not work at the moment. Try again in a few seconds.",
):
    """A provider does not respond, or its answer is unusable; metadata: provider."""


class ProviderNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    developer="No login provider is named {provider}. Use one of the settings.",
    korean="지원하지 않는 로그인 방법입니다.",
    english="This way to log in is not supported.",
):
    """The settings have no such provider; metadata: provider."""


class LoginStateInvalid(
    SoriError,
    code=StatusCode.UNAUTHENTICATED,
    developer="The login was not begun in this browser, or too long ago. Begin it again.",
    korean="로그인 시간이 지났습니다. 처음부터 다시 로그인해 주세요.",
    english="The login took too long. Begin it again.",
):
    """The state of a login at a provider is unknown, used, expired or of another browser."""


class TotpCodeInvalid(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="The code of the authenticator app is wrong or was used already. Send the next one.",
    korean="코드가 올바르지 않습니다. 인증 앱에 새로 표시되는 코드를 입력해 주세요.",
    english="The code is wrong. Enter the next code of your authenticator app.",
):
    """A code of the authenticator app is wrong or was used."""


class SecondFactorExists(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer=(
        "The account has a second factor. Remove it (POST /auth/totp:remove) before you set up "
        "another one."
    ),
    korean="이미 인증 앱을 사용하고 있습니다. 먼저 해제한 뒤 다시 등록해 주세요.",
    english="You already use an authenticator app. Remove it, then set it up again.",
):
    """A second factor is set up while the account has one."""


class PasskeyInvalid(
    SoriError,
    code=StatusCode.UNAUTHENTICATED,
    developer="The passkey is refused: {problem}. Begin again with new options.",
    korean="패스키를 확인하지 못했습니다. 다시 시도해 주세요.",
    english="The passkey could not be verified. Try again.",
):
    """The answer of a passkey at a login is refused; metadata: problem."""


class PasskeyRefused(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="The new passkey is refused: {problem}. Begin again with new options.",
    korean="패스키를 등록하지 못했습니다. 다시 시도해 주세요.",
    english="The passkey could not be set up. Try again.",
):
    """A passkey cannot be registered; metadata: problem."""


class TooManyPasskeys(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="The account has {limit} passkeys, which is the limit. Delete one first.",
    korean="패스키는 {limit}개까지 등록할 수 있습니다. 사용하지 않는 패스키를 먼저 삭제해 주세요.",
    english="You can have up to {limit} passkeys. Delete one that you no longer use.",
):
    """An account has as many passkeys as it may; metadata: limit."""


class AccountNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    developer="Account {account_id} does not exist. Use the id of an existing account.",
    korean="계정을 찾을 수 없습니다.",
    english="The account does not exist.",
):
    """The account does not exist, or was deleted; metadata: account_id."""


class ErasureNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    developer="No erasure has this id. Use the `erasure_id` that DeleteMe returned.",
    korean="삭제 확인증을 찾을 수 없습니다. 번호를 확인해 주세요.",
    english="The receipt does not exist. Check its number.",
):
    """No receipt has this id."""


class TooManyAttempts(
    SoriError,
    code=StatusCode.RESOURCE_EXHAUSTED,
    developer="Too many attempts. Retry in {seconds} s.",
    korean="시도 횟수가 너무 많습니다. 잠시 후 다시 시도해 주세요.",
    english="Too many attempts. Try again in a moment.",
):
    """An address or an account made too many attempts; metadata: seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds=seconds)
        self.retry_seconds = seconds


class KeysUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    developer="No key signs access tokens yet. Retry in a few seconds.",
    korean="잠시 서비스를 이용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    english="The service is temporarily unavailable. Try again in a few seconds.",
):
    """The process has not read the signing keys yet."""


class UploadUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    developer="The upload service does not respond. Retry in a few seconds.",
    korean="잠시 서비스를 이용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    english="The service is temporarily unavailable. Try again in a few seconds.",
):
    """The upload service does not respond."""
