"""Whether the image sets that a sensor waits for have arrived, decided on search hits alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from airflow_provider_healthimaging.search.image_set import SearchHit


def is_ready(hits: Iterable[SearchHit], *, min_image_sets: int, quiet_since: datetime | None) -> bool:
    """Whether enough image sets are found, and none of them changed after ``quiet_since``; reads no more than needed.

    :param hits: search hits, each image set once.
    :param min_image_sets: how many are enough.
    :param quiet_since: if given, all hits are read, because the latest change decides.
    """
    count = 0
    for hit in hits:
        count += 1
        if quiet_since is None:
            if count >= min_image_sets:
                return True
        elif (changed := hit.get("updatedAt")) is None or changed > quiet_since:
            return False
    return count >= min_image_sets


def confirms_ready(count: int, changed: datetime | None, *, min_image_sets: int, quiet_since: datetime | None) -> bool:
    """Whether the complete search that followed confirms it: image sets may have been deleted or changed since.

    :param count: how many image sets the complete search found.
    :param changed: the latest ``updatedAt`` among them.
    """
    return count >= min_image_sets and (quiet_since is None or changed is None or changed <= quiet_since)
