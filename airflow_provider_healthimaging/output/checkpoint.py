"""What an earlier attempt at a dataset finished, so that a retry goes on behind it instead of reading it again.

``_progress.json`` lies beside the parts from the first full one until the manifest is written::

    {"search": "<digest>", "parts": 3, "after": {"timestamp": "2026-01-31T13:20:11.204000Z", "imageSetId": "..."}}

It is an earlier attempt's if it is about the same search, which a keyed digest tells without giving it away, and
if its parts are there. See docs/datasets.md.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_provider_healthimaging.search.validation import to_json
from airflow_provider_healthimaging.exceptions import ConfigurationError, HealthImagingError
from airflow_provider_healthimaging.privacy.encryption import seal
from airflow_provider_healthimaging.window import TimeWindow, isoformat, parse_instant

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from airflow_provider_healthimaging.search.image_set import Summary

PROGRESS = "_progress.json"

log = logging.getLogger(__name__)


def digest(search: Mapping[str, Any], private: Mapping[str, Any]) -> str | None:
    """Return what tells one search from another, and nothing else.

    :param private: what may be patient data, of which a plain digest could be guessed from; empty values count for
        nothing. With any of it, and no Fernet key in Airflow, the digest is ``None``.
    """
    try:
        secret = seal(to_json({name: value for name, value in private.items() if value}))
    except ConfigurationError:
        return None
    return hashlib.sha256(f"{to_json(search)}\n{secret}".encode()).hexdigest()


class Checkpoint:
    """How far a dataset is written, in S3.

    :param folder: key under which the dataset lies.
    :param search: from :func:`digest`; ``None`` if nothing is to be kept or gone on from.
    :param order: the timestamp that image sets are read by.
    """

    def __init__(self, hook: S3Hook, bucket: str, folder: str, search: str | None, order: str | None) -> None:
        """Begin at the beginning."""
        self._hook = hook
        self._bucket = bucket
        self.key = folder + PROGRESS
        self._search = search
        self._order = order
        self._last: Summary | None = None
        self._after: tuple[datetime, str] | None = None
        self.parts = 0

    def load(self) -> int:
        """Find what an earlier attempt left, and return how many parts it says are finished."""
        if self._search is None:
            return 0
        try:
            progress = json.loads(self._hook.read_key(self.key, self._bucket))
            if progress["search"] == self._search:
                parts, after = int(progress["parts"]), progress["after"]
                if parts > 0:
                    self._after = parse_instant(after["timestamp"], "timestamp"), after["imageSetId"]
                    self.parts = parts
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in ("404", "NoSuchKey"):
                log.info("No earlier attempt's progress can be read from %s; starting anew.", self.key)
        except (ValueError, KeyError, TypeError, HealthImagingError):
            log.info("What %s says cannot be read; starting anew.", self.key)
        return self.parts

    def forget(self) -> None:
        """Begin at the beginning after all."""
        self.parts, self._after = 0, None

    def rest_of(self, window: TimeWindow) -> TimeWindow:
        """Return the part of ``window`` that is still to be read."""
        return TimeWindow(self._after[0], window.end) if self._after else window

    def follow(self, found: Iterator[Summary]) -> Iterator[Summary]:
        """Pass on what an earlier attempt did not write, and keep in mind what was last."""
        for summary in found:
            if self._after and self._order and (summary[self._order], summary["imageSetId"]) <= self._after:
                continue
            self._last = summary
            yield summary

    def save(self, parts: int) -> None:
        """Note that so many parts are finished, and that what was passed on last is in the last of them."""
        if self._search is None or self._order is None or self._last is None:
            return
        after = {"timestamp": isoformat(self._last[self._order]), "imageSetId": self._last["imageSetId"]}
        progress = {"search": self._search, "parts": parts, "after": after}
        self._hook.load_string(json.dumps(progress), self.key, self._bucket, replace=True)
