"""What to copy to S3 and how, parsed once from the arguments of a task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, TypeGuard, cast, get_args

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.export.s3_address import parse_s3_uri
from airflow_provider_healthimaging.search.rendered import check_text, is_empty, shown, type_and_hint
from airflow_provider_healthimaging.search.suggestions import unknown_name_error
from airflow_provider_healthimaging.search.validation import check_whole_number, load_json

Content = Literal["metadata", "dicom", "frames"]
Check = Literal["size", "checksum"]
OnMissing = Literal["fail", "skip"]

CONTENTS: tuple[Content, ...] = get_args(Content)
CHECKS: tuple[Check, ...] = get_args(Check)
ON_MISSING: tuple[OnMissing, ...] = get_args(OnMissing)

AS_STORED = "*"
"""The transfer syntax that stands for "as it is stored" in a DICOMweb request."""

MAX_WORKERS = 256
"""The most workers of a task. More would only wait for the account's quotas."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
MAX_UID_LENGTH = 64


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to copy, and where. Make it with :meth:`parse`.

    :param bucket: the bucket's name.
    :param prefix: the key under which everything goes; it ends with ``/`` unless it is empty.
    :param content: what to copy of each image set, in the order of ``CONTENTS``.
    :param transfer_syntax: the transfer syntax of the DICOM files; ``"*"`` for the one in which they are stored.
    :param verify: how each object is checked.
    :param max_workers: the most objects that are copied at a time.
    :param on_missing: what to do about an image set, an instance or a frame that does not exist.
    """

    bucket: str
    prefix: str
    content: tuple[Content, ...]
    transfer_syntax: str
    verify: Check
    max_workers: int
    on_missing: OnMissing

    @classmethod
    def parse(
        cls,
        *,
        s3_uri: object,
        content: object = ("metadata", "dicom"),
        transfer_syntax: object = None,
        verify: object = "size",
        max_workers: object = 16,
        on_missing: object = "fail",
    ) -> Self:
        """Return the request that the arguments describe.

        :raises InvalidArgumentError: for an argument that cannot work.
        """
        bucket, prefix = parse_s3_uri(s3_uri)
        contents = parse_content(content)
        syntax = parse_transfer_syntax(transfer_syntax)
        if syntax != AS_STORED and "dicom" not in contents:
            raise InvalidArgumentError(
                "transfer_syntax is for DICOM files, and content has no 'dicom'. The service gives frames as they are "
                "stored. Add 'dicom' to content, or leave transfer_syntax out."
            )
        return cls(
            bucket=bucket,
            prefix=prefix,
            content=contents,
            transfer_syntax=syntax,
            verify=parse_check(verify),
            max_workers=check_whole_number("max_workers", max_workers, MAX_WORKERS),
            on_missing=parse_on_missing(on_missing),
        )

    @property
    def uri(self) -> str:
        """The ``s3://`` address under which everything goes."""
        return f"s3://{self.bucket}/{self.prefix}"


def parse_content(value: object) -> tuple[Content, ...]:
    """Return what to copy: a name, a list of names, or the JSON text of one."""
    names = load_json(value) if isinstance(value, str) and value.lstrip().startswith("[") else value
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, list | tuple) or not names:
        raise InvalidArgumentError(f"content={shown(value)} must be a list of one or more of: {', '.join(CONTENTS)}.")
    for name in names:
        if not isinstance(name, str) or name not in CONTENTS:
            raise unknown_name_error("content", name, CONTENTS)
    return tuple(name for name in CONTENTS if name in names)


def parse_transfer_syntax(value: object) -> str:
    """Return the UID of a transfer syntax; nothing given means as stored."""
    if is_empty(value):
        return AS_STORED
    uid = check_text("transfer_syntax", value).strip()
    if uid == AS_STORED:
        return uid
    if not is_uid(uid):
        raise InvalidArgumentError(
            f"transfer_syntax={shown(value)} is not a UID. Give one such as '1.2.840.10008.1.2.1' (explicit VR little "
            "endian), or leave it out for files as they are stored."
        )
    return uid


def is_uid(value: object) -> TypeGuard[str]:
    """Whether ``value`` is a UID."""
    return isinstance(value, str) and len(value) <= MAX_UID_LENGTH and _UID.fullmatch(value) is not None


def parse_check(value: object) -> Check:
    """Return how objects are checked. Other tasks have ``verify`` for TLS, so the error says where that is set."""
    if isinstance(value, str) and value in CHECKS:
        return value
    if isinstance(value, str):
        raise unknown_name_error("verify", value, CHECKS)
    raise InvalidArgumentError(
        f"verify {type_and_hint(value, 'a string')} It says how each object is checked: 'size' or 'checksum'. Whether "
        "TLS certificates are verified is set in the connection's extra (verify)."
    )


def parse_on_missing(value: object) -> OnMissing:
    """Return what to do about what does not exist."""
    if isinstance(value, str) and value in ON_MISSING:
        return value
    raise unknown_name_error("on_missing", value, ON_MISSING)


def as_mapping(value: object) -> Mapping[str, object]:
    """Return ``value`` if it is a mapping, else an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
