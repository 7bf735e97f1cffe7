"""The caller's profile, picture, password and e-mail address."""

from __future__ import annotations

from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from services.accounts import converters
from services.accounts.parts import Parts
from services.accounts.profile_fields import profile_of
from services.accounts.profiles import Profiles
from services.accounts.servicer.common import own_account, session_id_of
from services.accounts.store import MailStore, PictureStore, ProfileStore
from services.runtime.client_address import client_key
from services.runtime.field_masks import apply_update
from services.runtime.interceptors import Context, call_language
from services.runtime.language import Language
from sori.accounts.v1 import accounts_pb2 as pb


class ProfileRpcs:
    """The caller's profile, picture, password and e-mail address."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._profiles = Profiles(
            parts.settings,
            ProfileStore(parts.database),
            MailStore(parts.database),
            parts.passwords,
            parts.outbox,
        )
        self._pictures = PictureStore(parts.database)

    async def GetMe(self, request: pb.GetMeRequest, context: Context) -> pb.Account:
        with own_account(context) as account_id:
            return await self._message_of(account_id)

    async def UpdateMe(self, request: pb.UpdateMeRequest, context: Context) -> pb.Account:
        with own_account(context) as account_id:
            present = await self._parts.accounts.get(account_id)
            updated = apply_update(
                converters.account_to(present), request.account, request.update_mask
            )
            profile = profile_of(
                updated.name,
                updated.language,
                updated.time_zone,
                Language(present.language),
                prefix="account.",
            )
            await self._profiles.update(account_id, profile)
            return await self._message_of(account_id)

    async def DeletePicture(self, request: pb.DeletePictureRequest, context: Context) -> Empty:
        with own_account(context) as account_id:
            await self._pictures.remove(account_id)
        return Empty()

    async def ChangePassword(self, request: pb.ChangePasswordRequest, context: Context) -> Empty:
        with own_account(context) as account_id:
            await self._profiles.change_password(
                account_id,
                request.current_password,
                request.new_password,
                address=client_key(context),
                session_id=session_id_of(context),
            )
        return Empty()

    async def ChangeEmail(self, request: pb.ChangeEmailRequest, context: Context) -> Empty:
        with own_account(context) as account_id:
            await self._profiles.change_email(
                account_id,
                request.email,
                request.password,
                address=client_key(context),
                language=call_language(context),
            )
        return Empty()

    async def _message_of(self, account_id: UUID) -> pb.Account:
        account = await self._parts.accounts.get(account_id)
        return converters.account_to(account, await self._parts.pictures.url(account))
