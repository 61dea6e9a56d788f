"""Page tokens: where a listing stopped, readable by nobody else and good for no other listing.

The API Reference says only that ``nextToken`` is ASCII of at most 8192 characters. A token here holds the
position of the last row given, not a count, so that rows which arrive before it shift nothing. The position
may be a study date, which is patient data: it is masked. No two tokens are the same, as a page without rows
leaves the position where it was.
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

MAX_PAGE = 50
START = ("", "")
"""The position before the first row."""

INVALID = "The nextToken provided is invalid for this request"
_SEAL_BYTES = 16


class PageTokens:
    """Issues and reads tokens; those of another instance, or for another scope, are invalid."""

    def __init__(self) -> None:
        """Draw the secret that tells this instance's tokens from all others."""
        self._secret = secrets.token_bytes(32)
        self._numbers = count()

    def issue(self, position: tuple[str, str], *scope: str) -> str:
        """Return the token that goes on after ``position`` in the listing named by ``scope``."""
        key = self._key(scope)
        payload = json.dumps([*position, monotonic(), next(self._numbers)]).encode()
        return urlsafe_b64encode(self._seal(key, payload) + self._mask(key, payload)).decode()

    def read(self, token: str, *scope: str, lifetime: float | None = None) -> tuple[str, str]:
        """Return the position in ``token``.

        :param lifetime: seconds for which a token is good.
        :raises ValidationError: unless it was issued for ``scope``, and not too long ago.
        """
        key = self._key(scope)
        try:
            raw = urlsafe_b64decode(token.encode("ascii"))
        except ValueError:
            raw = b""
        payload = self._mask(key, raw[_SEAL_BYTES:])
        # Decoding passes over what does not belong there.
        whole = urlsafe_b64encode(raw).decode() == token
        if not whole or not hmac.compare_digest(self._seal(key, payload), raw[:_SEAL_BYTES]):
            raise ValidationError(INVALID)
        first, second, issued, _ = json.loads(payload)
        if lifetime is not None and monotonic() - issued > lifetime:
            raise ValidationError(INVALID)
        return first, second

    def _key(self, scope: tuple[str, ...]) -> bytes:
        return hashlib.blake2b(json.dumps(scope).encode(), key=self._secret, digest_size=32).digest()

    @staticmethod
    def _seal(key: bytes, payload: bytes) -> bytes:
        return hashlib.blake2b(payload, key=key, digest_size=_SEAL_BYTES).digest()

    @staticmethod
    def _mask(key: bytes, data: bytes) -> bytes:
        stream = hashlib.shake_256(key).digest(len(data))
        return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def parse_limit(text: str | None) -> int:
    """Return the page size asked for, 1 to 50 (the default, as nothing documents another one)."""
    if text is None:
        return MAX_PAGE
    if not (len(text) <= len(str(MAX_PAGE)) and text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_PAGE):
        raise ValidationError(f"Value {text!r} at 'maxResults' must be between 1 and {MAX_PAGE}")
    return int(text)


def take_page(rows: Iterable[T], limit: int) -> tuple[list[T], bool]:
    """Return the first ``limit`` rows and whether there is one more."""
    page = list(islice(rows, limit + 1))
    return page[:limit], len(page) > limit
