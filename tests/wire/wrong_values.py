"""Values of every wrong type, and the places in an argument where one may stand."""

from __future__ import annotations

import datetime as dt
import inspect
import math
import pathlib
from decimal import Decimal

import airflow
import pytest
from botocore.config import Config
from packaging.version import Version

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.imports.arguments import CONFIGURATION, MAPPINGS, UIDS
from airflow_provider_healthimaging.search.criteria import STUDY_TIME
from airflow_provider_healthimaging.window import TimeWindow

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
CANARY = "CANARY-4711"

ON_THE_NEWEST = pytest.mark.skipif(
    Version(airflow.__version__) < Version("3.3.0.dev0"),
    reason="the checks of arguments are the same on every version, and this takes a minute",
)

WRONG = [
    *(None, True, False, 0, -1, 7, 10**30, 10**5000, 1.5, -0.0, math.nan, math.inf, 1j, Decimal("NaN")),
    *("", " ", "None", CANARY, "4", "-1", "1e5", "true", "{", "[]", "{}", '["x"]', "\ud800", "\n", "a" * 10_000),
    *(
        "{{ x }}",
        "{{ x",
        "sealed:",
        "sealed:\u00e4",
        "sealed:AAAA",
        "s3://",
        "s3://b/\n",
        "2026-01-31",
        "2026-01-31T12:00:00Z",
    ),
    *(b"bytes", bytearray(b"x"), [], [None], [CANARY], [[]], (), (1,), {}, {CANARY: 1}, {1: 2}, {None: []}, {(): {}}),
    *(set(), {CANARY}, frozenset({1}), range(3), object(), iter([1]), ..., NotImplemented),
    *(NOON, NOON.replace(tzinfo=None), NOON.date(), HOUR, -HOUR, dt.timedelta.max),
    *(dt.datetime.max, dt.datetime.min),  # noqa: DTZ901 - naive ones
    *(pathlib.Path("/x"), Config(), TimeWindow(NOON - HOUR, NOON), InvalidArgumentError("x")),
]
"""Of most of these, an argument takes none, and of the others it may take them: then they must work."""

SOME = [None, True, 7, 10**5000, 1.5, math.nan, "", "None", CANARY, "{{ x }}", "\ud800", b"x", [], [CANARY], {}]
SOME += [{CANARY: 1}, {1: 2}, {None}, object(), NOON, NOON.replace(tzinfo=None), HOUR]

CRITERIA = [
    lambda v: v,
    lambda v: {"filters": v},
    lambda v: {"sort": v},
    lambda v: {"filters": [v]},
    lambda v: {"filters": [{"operator": v, "values": [{"DICOMPatientId": CANARY}]}]},
    lambda v: {"filters": [{"operator": "EQUAL", "values": v}]},
    lambda v: {"filters": [{"operator": "EQUAL", "values": [v]}]},
    lambda v: {"filters": [{"operator": "BETWEEN", "values": [{"DICOMStudyDateAndTime": v}] * 2}]},
    lambda v: {"sort": {"sortField": v, "sortOrder": "ASC"}},
    lambda v: {"sort": {"sortField": "createdAt", "sortOrder": v}},
    *(
        lambda v, name=name: {"filters": [{"operator": "EQUAL", "values": [{name: v}]}]}
        for name in ("DICOMPatientId", "DICOMStudyInstanceUID", "DICOMStudyDateAndTime", "isPrimary", "createdAt")
    ),
    *(
        lambda v, name=name: {
            "filters": [{"operator": "EQUAL", "values": [{"DICOMStudyDateAndTime": {"DICOMStudyDate": "1", name: v}}]}]
        }
        for name in STUDY_TIME
    ),
]
INSIDE = {
    "search_criteria": CRITERIA,
    "match": [
        lambda v: v,
        *(
            lambda v, name=name: {name: v}
            for name in ("DICOMPatientId", "DICOMSeriesNumber", "isPrimary", "version", "imageSetId")
        ),
        lambda v: {"DICOMPatientId": [v]},
    ],
    "pagination_config": [
        lambda v: v,
        *(lambda v, name=name: {name: v} for name in ("MaxItems", "PageSize", "StartingToken", "x")),
    ],
    "dicom_tags": [lambda v: v, lambda v: [v]],
    "content": [lambda v: v, lambda v: [v]],
    "image_sets": [
        lambda v: v,
        lambda v: [v],
        lambda v: [[v]],
        *(
            lambda v, name=name: {"datastoreId": "d" * 32, "imageSetId": "e" * 32, "version": 1, name: v}
            for name in ("datastoreId", "imageSetId", "version", "createdAt", "DICOMTags")
        ),
        lambda v: {"manifest": v},
    ],
    "s3_extra_args": [lambda v: v, lambda v: {"SSEKMSKeyId": v}, lambda v: {"x": v}],
    "botocore_config": [
        lambda v: v,
        *(
            lambda v, name=name: {name: v}
            for name in ("retries", "read_timeout", "max_pool_connections", "proxies", "s3", "signature_version", "x")
        ),
    ],
    "import_configuration": [
        lambda v: v,
        lambda v: {"x": v},
        lambda v: {CONFIGURATION: v},
        lambda v: {CONFIGURATION: {MAPPINGS: v}},
        lambda v: {CONFIGURATION: {MAPPINGS: [v]}},
        lambda v: {CONFIGURATION: {MAPPINGS: [{"studyInstanceUID": v, "metadataFilePath": "1.json"}]}},
        lambda v: {CONFIGURATION: {MAPPINGS: [{"studyInstanceUID": "2.25.1", "metadataFilePath": v}]}},
        lambda v: {CONFIGURATION: {MAPPINGS: [dict.fromkeys((*UIDS, "metadataFilePath", "x"), v)]}},
    ],
}
"""Where in an argument a value may stand."""

PRIVATE = {"search_criteria", "match", "s3_extra_args", "dicom_tags", "input_s3_uri", "import_configuration"}
"""Arguments whose values no error shows."""


def arguments_of(call):
    return [name for name in inspect.signature(call).parameters if name not in {"self", "kwargs"}]


def values(name):
    """Return everything to give for an argument: any value, and some in each place inside of it."""
    _, *places = INSIDE.get(name, [None])
    return [*WRONG, *(place(value) for place in places for value in SOME)]
