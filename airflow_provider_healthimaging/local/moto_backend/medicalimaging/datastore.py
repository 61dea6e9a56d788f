"""A data store, and what the API Reference asks of the names and ids that requests carry."""

import re
from dataclasses import dataclass, field
from datetime import datetime

from moto.moto_api._internal import mock_random

from .exceptions import ValidationError
from .image_sets import ImageSetStore

ID = re.compile(r"[0-9a-z]{32}")
NAME = re.compile(r"[A-Za-z0-9._/#-]{1,256}")
CLIENT_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
STATUSES = ("CREATING", "CREATE_FAILED", "ACTIVE", "DELETING", "DELETED")


def new_id() -> str:
    """Return an id of 32 hexadecimal digits, the same ones for the same seed of moto's."""
    return f"{mock_random.getrandbits(128):032x}"


def check(pattern: re.Pattern[str], value: object, where: str) -> str:
    """Return ``value``; ``ValidationError`` unless it is text in the ``pattern``."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValidationError(f"Value {value!r} at '{where}' must match {pattern.pattern}")
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
    image_sets: ImageSetStore = field(default_factory=ImageSetStore, repr=False)

    @property
    def position(self) -> tuple[str, str]:
        """Where it stands in a listing: by time of creation, then id."""
        return self.created_at.isoformat(timespec="microseconds"), self.datastore_id
