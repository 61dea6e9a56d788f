"""A data store, its id, and the patterns of the API Reference for names and ids."""

import re
from dataclasses import dataclass, field
from datetime import datetime

from moto.moto_api._internal import mock_random

from .exceptions import ValidationError
from .pixel_codecs import HTJ2K_LOSSLESS_RPCL, J2K_LOSSLESS
from .store import ImageSetStore

ID_PATTERN = re.compile(r"[0-9a-z]{32}")
NAME_PATTERN = re.compile(r"[A-Za-z0-9._/#-]{1,256}")
CLIENT_TOKEN_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
LOSSLESS_FORMATS = {"HTJ2K": HTJ2K_LOSSLESS_RPCL, "JPEG_2000_LOSSLESS": J2K_LOSSLESS}
STATUSES = ("CREATING", "CREATE_FAILED", "ACTIVE", "DELETING", "DELETED")


def seed_ids(seed: int) -> None:
    """Make the next ids depend only on ``seed``. The generator is moto's, so its ids of other services change too."""
    mock_random.seed(seed)


def new_id() -> str:
    """Return an id of 32 hexadecimal digits. The same seed gives the same ids."""
    return f"{mock_random.getrandbits(128):032x}"


def require_match(pattern: re.Pattern[str], value: object, location: str) -> str:
    """Return ``value``. Raise ``ValidationError`` if it does not match the ``pattern``."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValidationError(f"Value {value!r} at '{location}' must match {pattern.pattern}")
    return value


@dataclass
class Datastore:
    """A data store and its image sets; ``status`` is ``ACTIVE`` or ``DELETED``."""

    datastore_id: str
    name: str
    arn: str
    created_at: datetime
    updated_at: datetime
    status: str = "ACTIVE"
    client_token: str | None = None
    lossless_storage_format: str = "HTJ2K"
    image_sets: ImageSetStore = field(default_factory=ImageSetStore, repr=False)

    @property
    def lossless_syntax(self) -> str:
        """The transfer syntax of the images that the data store encodes."""
        return LOSSLESS_FORMATS[self.lossless_storage_format]

    @property
    def position(self) -> tuple[str, str]:
        """The sort key in a list: the time of creation, then the id."""
        return self.created_at.isoformat(timespec="microseconds"), self.datastore_id
