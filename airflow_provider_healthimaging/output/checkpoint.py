"""The checkpoint of a dataset: which parts an earlier attempt finished, so that a retry goes on after them.

``_progress.json`` lies beside the parts from the first full part until the manifest is written::

    {"search": "<fingerprint>", "parts": 3, "after": {"timestamp": "2026-01-31T13:20:11.204000Z", "imageSetId": "..."}}

It is used if its fingerprint is that of the same search, and if its parts are there. The fingerprint is keyed, so that
nobody can guess search values from it. See docs/datasets.md.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from airflow_provider_healthimaging.aws.errors import is_missing_object
from airflow_provider_healthimaging.exceptions import ConfigurationError, HealthImagingError
from airflow_provider_healthimaging.privacy.encryption import seal
from airflow_provider_healthimaging.search.pages import has_stable_order
from airflow_provider_healthimaging.search.validation import to_json
from airflow_provider_healthimaging.window import TimeWindow, format_utc, parse_instant

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from airflow_provider_healthimaging.output.destination import S3Destination
    from airflow_provider_healthimaging.search.image_set import SearchHit
    from airflow_provider_healthimaging.search.request import SearchRequest

CHECKPOINT_FILE = "_progress.json"

log = logging.getLogger(__name__)


def search_fingerprint(
    request: SearchRequest, destination: S3Destination, tags: tuple[str, ...], region: str | None
) -> str | None:
    """Return a text that tells this search from any other, and says nothing else about it.

    :return: ``None`` if a retry cannot go on in the middle: without a window, with ``pagination_config``, or while
        image sets may still change their place. Also if there are search values, and Airflow has no Fernet key.
    """
    if request.window is None or request.pagination_config or not has_stable_order(request.sort_field, request.window):
        return None
    search = {
        "region": region,
        "datastore_id": request.datastore_id,
        "time_field": request.time_field,
        "window": request.window.to_dict(),
        "dicom_tags": tags,
        "file_format": destination.file_format,
        "rows_per_file": destination.rows_per_file,
    }
    private = {"search_criteria": request.search_criteria, "match": request.match}
    try:
        secret = seal(to_json({name: value for name, value in private.items() if value}))
    except ConfigurationError:
        return None
    return hashlib.sha256(f"{to_json(search)}\n{secret}".encode()).hexdigest()


class Checkpoint:
    """How far a dataset is written.

    :param folder: the key under which the dataset lies.
    :param fingerprint: from :func:`search_fingerprint`; ``None`` to keep and use no checkpoint.
    :param sort_field: the timestamp by which the search hits are sorted.
    """

    def __init__(self, hook: S3Hook, bucket: str, folder: str, fingerprint: str | None, sort_field: str) -> None:
        """Start from the beginning; :meth:`load` looks for an earlier attempt."""
        self._hook = hook
        self._bucket = bucket
        self.key = folder + CHECKPOINT_FILE
        self._fingerprint = fingerprint
        self._sort_field = sort_field
        self._last: SearchHit | None = None
        self._after: tuple[datetime, str] | None = None
        self.parts = 0

    def load(self) -> None:
        """Read what an earlier attempt left; ``parts`` is then how many parts it finished."""
        if self._fingerprint is None:
            return
        try:
            content: dict[str, Any] = json.loads(self._hook.read_key(self.key, self._bucket))
            if content["search"] == self._fingerprint and (parts := int(content["parts"])) > 0:
                after = content["after"]
                self._after = parse_instant(after["timestamp"], "timestamp"), after["imageSetId"]
                self.parts = parts
        except ClientError as error:
            if not is_missing_object(error):
                log.info("The checkpoint %s cannot be read. Starting from the beginning.", self.key)
        except (ValueError, KeyError, TypeError, HealthImagingError):
            log.info("The checkpoint %s is damaged. Starting from the beginning.", self.key)

    def reset(self) -> None:
        """Start from the beginning."""
        self.parts, self._after = 0, None

    def remaining_window(self, window: TimeWindow | None) -> TimeWindow | None:
        """Return the part of ``window`` that is still to be read."""
        return TimeWindow(self._after[0], window.end) if self._after and window else window

    def skip_written(self, hits: Iterator[SearchHit]) -> Iterator[SearchHit]:
        """Yield the hits that no finished part holds."""
        for hit in hits:
            if self._after and self._position(hit) <= self._after:
                continue
            self._last = hit
            yield hit

    def save(self, parts: int) -> None:
        """Note that so many parts are finished, and that the last of them ends with the hit that was yielded last."""
        if self._fingerprint is None or self._last is None:
            return
        timestamp, image_set_id = self._position(self._last)
        after = {"timestamp": format_utc(timestamp), "imageSetId": image_set_id}
        content = {"search": self._fingerprint, "parts": parts, "after": after}
        self._hook.load_string(json.dumps(content), self.key, self._bucket, replace=True)

    def _position(self, hit: SearchHit) -> tuple[datetime, str]:
        return cast("dict[str, datetime]", hit)[self._sort_field], hit["imageSetId"]
