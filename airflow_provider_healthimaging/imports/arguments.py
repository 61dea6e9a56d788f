"""Checks of the single arguments of an import job. The rules are those of the service's model.

Botocore checks none of the patterns and maxima. No error shows the input's address or a mapping, because these may hold
patient data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NotRequired, TypedDict

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.rendered import (
    check_text,
    is_empty,
    reject_none_text,
    shown,
    type_and_hint,
)
from airflow_provider_healthimaging.search.validation import parse_json_object

MAX_MAPPINGS = 1000
"""The most entries of ``dicomMetadataMappings``."""

MAX_URI_LENGTH = 1024
MAX_UID_LENGTH = 512

CONFIGURATION = "dicomJsonMetadataImportConfiguration"
MAPPINGS = "dicomMetadataMappings"
UIDS = ("studyInstanceUID", "seriesInstanceUID")

_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][.a-z0-9-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
_ROLE = re.compile(r"arn:aws(-[^:]{1,20})?:iam::[0-9]{12}:role/.{1,1990}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_JOB_ID = re.compile(r"[0-9a-z]{1,32}")
_JOB_NAME = re.compile(r"[A-Za-z0-9._/#-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_UID = re.compile(rf"[0-9.]{{1,{MAX_UID_LENGTH}}}")
_FILE_PATH = re.compile(r"[!-~](?:[ -~]{0,1022}[!-~])?")


class MetadataMapping(TypedDict):
    """One entry of ``dicomMetadataMappings``; the UIDs are patient data."""

    studyInstanceUID: str
    seriesInstanceUID: NotRequired[str]
    metadataFilePath: str


class MetadataMappings(TypedDict):
    """AWS's ``DicomJsonMetadataImportConfiguration``."""

    dicomMetadataMappings: list[MetadataMapping]


class ImportConfiguration(TypedDict):
    """AWS's ``ImportConfiguration``."""

    dicomJsonMetadataImportConfiguration: MetadataMappings


def parse_s3_uri(name: str, value: object) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix``.

    :param name: the name of the argument, for the error, which does not show the value.
    """
    address = check_text(name, value)
    if match := _URI.fullmatch(address) if len(address) <= MAX_URI_LENGTH and address == address.strip() else None:
        return match["bucket"], match["prefix"] or ""
    fault, advice = _fault_of_address(address)
    raise InvalidArgumentError(f"{name} {fault}. {advice} The value is not shown, because it may hold patient data.")


def _fault_of_address(address: str) -> tuple[str, str]:
    """Return what is wrong with an address, and what to do."""
    if address != address.strip():
        return "begins or ends with a space or a new line", "Remove it: {{ ... | trim }} in a template."
    if re.match(r"(s3://)?arn:", address):
        return (
            "names an access point by its ARN",
            "Give its alias in place of the bucket, such as 's3://name-a1b2c3-s3alias/prefix/'.",
        )
    if re.match(r"s3://[^/]*@", address):
        return "names a connection before the '@'", "Give the bucket only, and the connection as s3_conn_id."
    return (
        "is not an S3 address that HealthImaging takes",
        f"Give 's3://bucket/prefix/', on one line, with at most {MAX_URI_LENGTH} characters.",
    )


def parse_input_uri(value: object) -> tuple[str, str]:
    """Return bucket and prefix of the input; its address must end with a slash."""
    bucket, prefix = parse_s3_uri("input_s3_uri", value)
    if not str(value).endswith("/"):
        raise InvalidArgumentError(
            "input_s3_uri must end with '/'. HealthImaging imports everything whose key begins with the prefix, so "
            "'scans/1' would also import 'scans/10/'. Add a slash. To import one file, put it under a prefix of its "
            "own."
        )
    return bucket, prefix


def check_job_id(value: object) -> str:
    """Return the id of a job if it is one."""
    return _check("job_id", value, _JOB_ID, "Give the jobId of StartDICOMImportJob: 1 to 32 characters of 0-9 and a-z.")


def check_role_arn(value: object) -> str:
    """Return the ARN of the role that HealthImaging takes on."""
    return _check(
        "data_access_role_arn",
        value,
        _ROLE,
        "Give the ARN of the IAM role with which HealthImaging reads the input and writes the output, such as "
        "'arn:aws:iam::123456789012:role/import'.",
    )


def parse_job_name(value: object) -> str | None:
    """Return the name of the job, or ``None`` if there is none."""
    return _check_optional("job_name", value, _JOB_NAME, "Give 1 to 64 characters of A-Z, a-z, 0-9 and ._/#-.")


def parse_client_token(value: object) -> str | None:
    """Return the client token, or ``None`` if there is none."""
    return _check_optional("client_token", value, _TOKEN, "Give 1 to 64 characters of A-Z, a-z, 0-9 and ._-.")


def parse_account_id(value: object) -> str | None:
    """Return the AWS account that owns the input's bucket, or ``None``."""
    return _check_optional("input_owner_account_id", value, _ACCOUNT, "Give the 12 digits of an AWS account, as text.")


def parse_import_configuration(value: object) -> ImportConfiguration | None:
    """Return AWS's ``ImportConfiguration``.

    :param value: the structure, its JSON text, or ``None``.
    :raises InvalidArgumentError: for everything that the service would reject; no value is shown.
    """
    given = parse_json_object("import_configuration", value)
    if not given:
        return None
    inner = given.get(CONFIGURATION)
    mappings = inner.get(MAPPINGS) if isinstance(inner, Mapping) else None
    if len(given) != 1 or not isinstance(inner, Mapping) or len(inner) != 1 or not isinstance(mappings, list | tuple):
        raise InvalidArgumentError(
            f"import_configuration must be {{'{CONFIGURATION}': {{'{MAPPINGS}': [...]}}}} and have no other keys."
        )
    if not 1 <= len(mappings) <= MAX_MAPPINGS:
        raise InvalidArgumentError(
            f"import_configuration has {len(mappings)} mappings. Give 1 to {MAX_MAPPINGS}, or start several jobs."
        )
    parsed = [_parse_mapping(f"{MAPPINGS}[{number}]", mapping) for number, mapping in enumerate(mappings)]
    return {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": parsed}}


def _parse_mapping(where: str, mapping: object) -> MetadataMapping:
    known = {*UIDS, "metadataFilePath"}
    if not isinstance(mapping, Mapping) or not {UIDS[0], "metadataFilePath"} <= set(mapping) <= known:
        raise InvalidArgumentError(
            f"import_configuration, {where}: give 'studyInstanceUID' and 'metadataFilePath', and 'seriesInstanceUID' "
            "if you need it; no other keys."
        )
    for uid in UIDS:
        if uid in mapping and not _matches(_UID, mapping[uid]):
            raise InvalidArgumentError(
                f"import_configuration, {where}.{uid}: give a DICOM UID, 1 to {MAX_UID_LENGTH} digits and dots."
            )
    if not _matches(_FILE_PATH, mapping["metadataFilePath"]):
        raise InvalidArgumentError(
            f"import_configuration, {where}.metadataFilePath: give 1 to {MAX_URI_LENGTH} ASCII characters, without "
            "spaces at the ends."
        )
    parsed: MetadataMapping = {
        "studyInstanceUID": mapping["studyInstanceUID"],
        "metadataFilePath": mapping["metadataFilePath"],
    }
    if "seriesInstanceUID" in mapping:
        parsed["seriesInstanceUID"] = mapping["seriesInstanceUID"]
    return parsed


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _check(name: str, value: object, pattern: re.Pattern[str], advice: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name}={shown(value)} {type_and_hint(value, 'a string')} {advice}")
    reject_none_text(name, value)
    if not pattern.fullmatch(value):
        raise InvalidArgumentError(f"{name}={shown(value)} is malformed. {advice}")
    return value


def _check_optional(name: str, value: object, pattern: re.Pattern[str], advice: str) -> str | None:
    return None if is_empty(value) else _check(name, value, pattern, advice)
