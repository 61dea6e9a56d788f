"""Whether a search hit meets ``searchCriteria``, decided without the service where that is certain.

Watchers of one data store share one search, which has no filter. So each of them applies its own filter to what was
found. How the service compares text is not documented: it may ignore case or spaces. So only values that are equal in
every character are a match, and only values that differ in more than that are none. The service decides the rest.
"""

from __future__ import annotations

import unicodedata

from airflow_provider_healthimaging.search.criteria import SearchCriteria, SearchFilter
from airflow_provider_healthimaging.search.image_set import SearchHit, get_field

WILDCARDS = frozenset("*?")
"""DICOM's wildcards. Whether the service knows them is not documented."""


def meets_criteria(hit: SearchHit, criteria: SearchCriteria) -> bool | None:
    """Return whether ``hit`` meets ``criteria``, or ``None`` if only the service can say.

    :param criteria: from ``parse_criteria``, without a filter on the time that the window is about.
    """
    answers = {_meets(hit, each) for each in criteria.get("filters", ())}
    if False in answers:
        return False
    return None if None in answers else True


def _meets(hit: SearchHit, given: SearchFilter) -> bool | None:
    ((attribute, wanted),) = given["values"][0].items()
    found = get_field(hit, attribute)
    if given["operator"] != "EQUAL" or found is None:
        return None
    if isinstance(wanted, bool) and isinstance(found, bool):
        return wanted is found
    if not isinstance(wanted, str) or not isinstance(found, str):
        return None
    if wanted == found:
        return True
    return None if WILDCARDS & set(wanted) or _folded(wanted) == _folded(found) else False


def _folded(text: str) -> str:
    """Return text without what a comparison may ignore: case, form of Unicode, spaces, null characters."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().replace("\0", " ").split())
