"""The objects in moto's S3 that an import job reads and writes.

This module knows moto's S3 and S3 URIs. It does not know jobs.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from moto.s3.models import FakeBucket, FakeKey, S3Backend


class S3Error(Exception):
    """A bucket cannot be used. The message is the reason."""


class S3Location(NamedTuple):
    """A bucket and a prefix of keys, which need not end at a slash."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, uri: str) -> "S3Location":
        """Return the location of a valid S3 URI."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        return cls(bucket, prefix)


class S3Account:
    """S3, as an import job of one account sees it."""

    def __init__(self, account_id: str, partition: str) -> None:
        """Use the S3 of the account."""
        self._account_id, self._partition = account_id, partition

    def list_objects(self, location: S3Location, owner: str | None = None) -> "list[FakeKey]":
        """Return the objects under the prefix, sorted by key.

        :param owner: the account that must own the bucket; default: this account.
        :raises S3Error: if there is no such bucket, or another account owns it.
        """
        _, bucket = self._find(location.bucket, owner)
        return sorted(_current_objects(bucket, location.prefix), key=lambda each: str(each.name))

    def require_bucket(self, name: str) -> None:
        """Raise ``S3Error`` if this account has no such bucket."""
        self._find(name, None)

    def write(self, location: S3Location, name: str, content: bytes) -> None:
        """Write the object ``name`` under the prefix."""
        backend, _ = self._find(location.bucket, None)
        backend.put_object(location.bucket, location.prefix + name, content)

    def _find(self, name: str, owner: str | None) -> "tuple[S3Backend, FakeBucket]":
        from moto.s3.models import s3_backends

        expected = owner or self._account_id
        _, account_id = s3_backends.bucket_accounts.get(name, (None, None))
        if account_id is None:
            raise S3Error("The specified bucket does not exist")
        if account_id != expected:
            raise S3Error("Access Denied: the bucket belongs to another account")
        backend: S3Backend = s3_backends[expected][self._partition]
        return backend, backend.buckets[name]


def _current_objects(bucket: "FakeBucket", prefix: str) -> "Iterator[FakeKey]":
    from moto.s3.models import FakeKey

    for key, current in bucket.keys.items():  # moto's items() iterates over a copy.
        if key.startswith(prefix) and isinstance(current, FakeKey):
            yield current
