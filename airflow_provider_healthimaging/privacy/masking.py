"""Values that may be patient data or keys: a template field that shows its structure, and ``***`` for its values.

Airflow stores and serves every rendered template field. It renders inside objects that have ``template_fields``; this
one has none, so that only :mod:`~airflow_provider_healthimaging.task.private_fields` can render it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from airflow_provider_healthimaging.search.criteria import SORT_FIELDS, SORT_ORDERS, VALUES_PER_OPERATOR
from airflow_provider_healthimaging.search.match import MATCH_FIELDS

MASK = "***"

UNMASKED_VALUES: Mapping[str, tuple[str, ...]] = {
    "operator": tuple(VALUES_PER_OPERATOR),
    "sortField": SORT_FIELDS,
    "sortOrder": SORT_ORDERS,
}
"""Keys of ``searchCriteria`` whose values are words of the API and no search values, with these words."""

S3_ARGUMENTS = frozenset(
    {
        *("ACL", "BucketKeyEnabled", "CacheControl", "ChecksumAlgorithm", "ContentType", "Metadata", "StorageClass"),
        *("ServerSideEncryption", "SSEKMSKeyId", "SSEKMSEncryptionContext", "SSECustomerAlgorithm", "SSECustomerKey"),
        *("ExpectedBucketOwner", "RequestPayer", "Tagging"),
    }
)
"""Names of S3's upload arguments. Their values are not shown, because one may be an encryption key."""

IMPORT_KEYS = frozenset(
    {
        *("dicomJsonMetadataImportConfiguration", "dicomMetadataMappings"),
        *("studyInstanceUID", "seriesInstanceUID", "metadataFilePath"),
    }
)
"""Names in the ``importConfiguration`` of an import job."""

RECORD_VALUES: Mapping[str, re.Pattern[str]] = {
    "datastoreId": re.compile(r"[0-9a-z]{32}"),
    "imageSetId": re.compile(r"[0-9a-z]{32}"),
    "version": re.compile(r"[0-9]{1,9}"),
    "createdAt": re.compile(r"[0-9TZ:.-]{20,27}"),
    "updatedAt": re.compile(r"[0-9TZ:.-]{20,27}"),
    "isPrimary": re.compile("True|False"),
}
"""The columns of a record, and how a value of each looks that is no patient data. DICOM tags are not shown."""

KNOWN_KEYS = S3_ARGUMENTS | IMPORT_KEYS | {"filters", "values", "sort", *UNMASKED_VALUES, *RECORD_VALUES}
KNOWN_KEYS |= {"DICOMTags", *SORT_FIELDS, *MATCH_FIELDS}
"""The names that are shown. Any other name may be a search value in the wrong place."""


def mask_values(value: object, key: object = "") -> object:
    """Return the structure of ``value`` with ``***`` for each value, and for each key that is not a known one."""
    if isinstance(value, Mapping):
        shown = RECORD_VALUES if {"datastoreId", "imageSetId"} <= value.keys() else {}
        return {
            name if name in KNOWN_KEYS else MASK: content
            if name in shown and shown[name].fullmatch(str(content))
            else mask_values(content, name)
            for name, content in value.items()
        }
    if isinstance(value, list | tuple):
        return [mask_values(content, key) for content in value]
    return value if value is None or value in UNMASKED_VALUES.get(str(key), ()) else MASK


class MaskedValue:
    """Holds a value, and shows its structure only.

    :param value: a structure of AWS's, its JSON text, a template of either, or ``None``.
    :param rendered: whether the templates in ``value`` were rendered by the guard that hides their errors.
    """

    def __init__(self, value: object, *, rendered: bool = False) -> None:
        """Hold ``value``; a value that is masked already is not masked twice."""
        self.value: object = value.value if isinstance(value, MaskedValue) else value
        self.rendered = rendered

    def serialize(self) -> object:
        """Return what Airflow may keep and show; Airflow 3.0 and 3.1 cannot take ``None`` here."""
        return {} if self.value is None else mask_values(self.value)

    def __str__(self) -> str:
        shown = self.serialize()
        return shown if isinstance(shown, str) else json.dumps(shown)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"
