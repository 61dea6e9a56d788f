"""When has what a sensor waits for arrived?  Decided on search hits alone; nothing of Airflow or boto3."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from airflow_provider_healthimaging.search.image_set import Summary


def is_ready(found: Iterable[Summary], *, min_image_sets: int, quiet_since: datetime | None) -> bool:
    """Whether enough was found, and none of it changed after ``quiet_since``; reads no further than it must.

    :param found: hits, as the search gives them.
    :param min_image_sets: how many are enough.
    :param quiet_since: with it, every hit counts, since the youngest decides.
    """
    count = 0
    for summary in found:
        count += 1
        if quiet_since is None:
            if count >= min_image_sets:
                return True
        elif (changed := summary.get("updatedAt")) is None or changed > quiet_since:
            return False
    return count >= min_image_sets


def is_still_ready(count: int, changed: datetime | None, *, min_image_sets: int, quiet_since: datetime | None) -> bool:
    """Whether that can be said of what was then read to its end, too, as some may have vanished or changed meanwhile.

    :param count: how many image sets it was.
    :param changed: the latest change among them.
    """
    return count >= min_image_sets and (quiet_since is None or changed is None or changed <= quiet_since)
