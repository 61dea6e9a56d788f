"""Page tokens. A token contains the position of the last item of a page, and is valid only for the same request.

The API Reference says only that ``nextToken`` is ASCII of at most 8192 characters. The position is not a count, so
new items before it change nothing. It may contain a study date, which is patient data, so the token is encrypted.
All tokens are different, also after an empty page, where the position stays the same.
"""

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from itertools import count, islice
from time import monotonic
from typing import TypeVar

from .exceptions import ValidationError

T = TypeVar("T")

MAX_PAGE_SIZE = 50
START_POSITION = ("", "")
"""The position before the first item."""

_MAC_BYTES = 16


def invalid_token() -> ValidationError:
    """Return the error for a token that is expired, or belongs to another request."""
    return ValidationError("The nextToken provided is invalid for this request")


class PageTokens:
    """Creates and reads tokens. Tokens of another instance, or for another request, are invalid."""

    def __init__(self) -> None:
        """Create the secret of this instance."""
        self._secret = secrets.token_bytes(32)
        self._numbers = count()

    def issue(self, position: tuple[str, str], *scope: str) -> str:
        """Return a token that continues after ``position`` in the request that ``scope`` identifies."""
        key = self._key(scope)
        payload = json.dumps([*position, monotonic(), next(self._numbers)]).encode()
        return urlsafe_b64encode(self._mac(key, payload) + self._encrypt(key, payload)).decode()

    def read(self, token: str, *scope: str, lifetime: float | None = None) -> tuple[str, str]:
        """Return the position in ``token``.

        :param lifetime: seconds until a token expires.
        :raises ValidationError: if it is expired, or was not created for ``scope``.
        """
        key = self._key(scope)
        try:
            raw = urlsafe_b64decode(token.encode("ascii"))
        except ValueError:
            raw = b""
        payload = self._encrypt(key, raw[_MAC_BYTES:])
        # The decoder ignores invalid characters.
        unchanged = urlsafe_b64encode(raw).decode() == token
        if not unchanged or not hmac.compare_digest(self._mac(key, payload), raw[:_MAC_BYTES]):
            raise invalid_token()
        first, second, issued, _ = json.loads(payload)
        if lifetime is not None and monotonic() - issued > lifetime:
            raise invalid_token()
        return first, second

    def _key(self, scope: tuple[str, ...]) -> bytes:
        return hashlib.blake2b(json.dumps(scope).encode(), key=self._secret, digest_size=32).digest()

    @staticmethod
    def _mac(key: bytes, payload: bytes) -> bytes:
        return hashlib.blake2b(payload, key=key, digest_size=_MAC_BYTES).digest()

    @staticmethod
    def _encrypt(key: bytes, data: bytes) -> bytes:
        """Encrypt ``data``, or decrypt it: XOR with a key stream does both."""
        stream = hashlib.shake_256(key).digest(len(data))
        return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def parse_limit(text: str | None) -> int:
    """Return the requested page size, 1 to 50. The default is 50, because AWS documents none."""
    if text is None:
        return MAX_PAGE_SIZE
    if not (
        len(text) <= len(str(MAX_PAGE_SIZE)) and text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_PAGE_SIZE
    ):
        raise ValidationError(f"Value {text!r} at 'maxResults' must be between 1 and {MAX_PAGE_SIZE}")
    return int(text)


def take_page(items: Iterable[T], limit: int) -> tuple[list[T], bool]:
    """Return the first ``limit`` items, and whether there are more."""
    page = list(islice(items, limit + 1))
    return page[:limit], len(page) > limit
