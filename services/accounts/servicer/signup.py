"""Sign-up, verification of e-mail addresses, and password resets."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from services.accounts.parts import Parts
from services.accounts.profile_fields import profile_of
from services.accounts.sign_ups import Origin, SignUps
from services.accounts.store import MailLinkStore, MailStore, SignUpStore
from services.runtime.access import caller_of
from services.runtime.client_address import client_key
from services.runtime.interceptors import Context, call_language
from services.runtime.language import LearnerMessage
from sori.accounts.v1 import accounts_pb2 as pb

SIGNED_UP = LearnerMessage(
    "메일을 보냈어요. 메일에 있는 링크를 눌러 가입을 마쳐 주세요.",
    "We sent you a mail. Open its link to finish your sign-up.",
)


class SignupRpcs:
    """Sign-up, verification of e-mail addresses, and password resets."""

    def __init__(self, parts: Parts) -> None:
        database = parts.database
        self._sign_ups = SignUps(
            parts.settings,
            SignUpStore(database),
            MailLinkStore(database),
            MailStore(database),
            parts.passwords,
            parts.outbox,
        )

    async def SignUp(self, request: pb.SignUpRequest, context: Context) -> pb.SignUpResponse:
        origin = _origin_of(context)
        profile = profile_of(request.name, request.language, request.time_zone, origin.language)
        await self._sign_ups.sign_up(request.email, request.password, profile, origin)
        return pb.SignUpResponse(message=SIGNED_UP.text(origin.language))

    async def VerifyEmail(self, request: pb.VerifyEmailRequest, context: Context) -> Empty:
        await self._sign_ups.verify_email(request.token, client_key(context))
        return Empty()

    async def ResendVerification(
        self, request: pb.ResendVerificationRequest, context: Context
    ) -> Empty:
        await self._sign_ups.resend_verification(request.email, _origin_of(context))
        return Empty()

    async def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, context: Context
    ) -> Empty:
        await self._sign_ups.request_password_reset(request.email, _origin_of(context))
        return Empty()

    async def ResetPassword(self, request: pb.ResetPasswordRequest, context: Context) -> Empty:
        await self._sign_ups.reset_password(
            request.token, request.new_password, client_key(context)
        )
        return Empty()


def _origin_of(context: Context) -> Origin:
    caller = caller_of(context)
    guest_owner_id = "" if caller.is_account else caller.owner_id
    return Origin(client_key(context), call_language(context), guest_owner_id)
