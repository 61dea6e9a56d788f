"""Addresses in S3 that a task writes to or reads from: ``s3://bucket/prefix/``."""

from __future__ import annotations

import re

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.rendered import check_text, shown

_S3_URI = re.compile(r"s3a?://(?P<bucket>[^/]+)(/(?P<prefix>[^\x00-\x1f\x7f]*))?")
_BUCKET = re.compile(r"[a-zA-Z0-9._-]{1,255}")
"""As in botocore, which takes the names of old buckets, too."""


def parse_s3_uri(s3_uri: object, name: str = "s3_uri") -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix/``; the prefix ends with ``/`` unless it is empty.

    :param name: the name of the argument, for the error.
    :raises InvalidArgumentError: for an address in a form that S3 or this package does not take.
    """
    address = check_text(name, s3_uri).strip()
    if re.match(r"(s3a?://)?arn:", address):
        raise InvalidArgumentError(
            f"{name}={shown(address)} names an access point by its ARN. Give its alias in place of the bucket, such as "
            "'s3://name-a1b2c3-s3alias/prefix/'."
        )
    match = _S3_URI.fullmatch(address)
    if not match:
        raise InvalidArgumentError(
            f"{name}={shown(address)} names no bucket. Give one such as 's3://bucket/prefix/', on one line."
        )
    bucket, prefix = match["bucket"], (match["prefix"] or "").strip("/")
    if "@" in bucket:
        raise InvalidArgumentError(
            f"{name}={shown(address)} names a connection before the '@'. Give the bucket only, and the connection as "
            "s3_conn_id."
        )
    if not _BUCKET.fullmatch(bucket):
        raise InvalidArgumentError(
            f"{name}={shown(address)} names no bucket that can exist: its name has letters, digits, dots and hyphens."
        )
    return bucket, f"{prefix}/" if prefix else ""
