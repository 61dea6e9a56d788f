"""Joins the datasets of windows that touch into one manifest.

    s3://bucket/prefix/
        window=20250101T000000Z_20250701T000000Z/   part-00000.jsonl.gz  _manifest.json
        window=20250701T000000Z_20260101T000000Z/   part-00000.jsonl.gz  _manifest.json
        window=20250101T000000Z_20260101T000000Z/   _manifest.json: lists the parts of both

No part is read or copied.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from airflow_provider_healthimaging.aws.error_table import S3
from airflow_provider_healthimaging.aws.errors import BOTOCORE_ERRORS, is_missing_object, translate_errors
from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError, ServiceError
from airflow_provider_healthimaging.export.s3_address import parse_s3_uri
from airflow_provider_healthimaging.output.dataset import DatasetSummary, Manifest, window_folder, write_manifest
from airflow_provider_healthimaging.window import TimeWindow

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

PER_WINDOW_KEYS = frozenset({"window", "image_sets", "parts"})
"""The keys of a manifest that differ by window. All others (data store, time field, format) must be equal."""


@dataclass(frozen=True, slots=True)
class _Dataset:
    window: TimeWindow
    manifest: Manifest


def join_manifests(hook: S3Hook, manifests: Iterable[str], s3_uri: str) -> DatasetSummary:
    """Write one manifest that lists the parts of several datasets in order of time, and return its summary.

    The same manifests, in any order, write the same key and the same bytes. A manifest does not hold the search
    criteria, so join only datasets of the same search.

    :param hook: amazon's ``S3Hook``; its ``extra_args`` (encryption) go with the manifest.
    :param manifests: ``s3://`` addresses of ``_manifest.json`` files. Sorted by time, their windows must touch.
    :param s3_uri: ``s3://bucket/prefix/`` under which ``window=<start>_<end>/_manifest.json`` is written.
    :return: ``s3_uri`` of that folder, ``manifest``, and the numbers of ``image_sets`` and ``parts``.
    :raises InvalidArgumentError: if windows overlap or leave a gap, or if the datasets differ in more than the window.
    :raises HealthImagingError: if a manifest does not exist, so that its dataset is not complete.
    """
    bucket, prefix = parse_s3_uri(s3_uri)
    if isinstance(manifests, str) or not isinstance(manifests, Iterable):
        raise InvalidArgumentError(f"manifests must be a list of s3:// addresses, not {type(manifests).__name__}.")
    datasets = sorted((_read(hook, uri) for uri in manifests), key=lambda each: (each.window.start, each.window.end))
    if not datasets:
        raise InvalidArgumentError("No manifest was given. Give at least one.")
    for first, second in itertools.pairwise(datasets):
        _check_joinable(first, second)
    window = TimeWindow(datasets[0].window.start, datasets[-1].window.end)
    joined: Manifest = {
        **datasets[0].manifest,
        "window": window.to_dict(),
        "image_sets": sum(dataset.manifest["image_sets"] for dataset in datasets),
        "parts": [part for dataset in datasets for part in dataset.manifest["parts"]],
    }
    folder = prefix + window_folder(window)
    return translate_errors(lambda: write_manifest(hook, bucket, folder, joined), s3_uri, S3, BOTOCORE_ERRORS)


def _read(hook: S3Hook, uri: str) -> _Dataset:
    bucket, key = parse_s3_uri(uri, "manifest")
    other = InvalidArgumentError(f"{uri} is not a manifest of a dataset. Give the 'manifest' that a search returned.")
    try:
        text = translate_errors(lambda: hook.read_key(key.rstrip("/"), bucket), uri, S3, BOTOCORE_ERRORS)
    except ServiceError as error:
        if not is_missing_object(error):
            raise
        raise HealthImagingError(
            f"There is no manifest at {uri}, so its dataset is not complete. Search its window again, then join."
        ) from None
    except UnicodeDecodeError:
        raise other from None
    try:
        manifest = json.loads(text)
        parts, image_sets, edges = manifest["parts"], manifest["image_sets"], manifest["window"]
        window = None if edges is None else TimeWindow(**edges)
    except (ValueError, KeyError, TypeError):
        raise other from None
    if not isinstance(parts, list) or not isinstance(image_sets, int):
        raise other
    if window is None:
        raise InvalidArgumentError(f"{uri} is of a search without a window. Only datasets of windows can be joined.")
    return _Dataset(window, manifest)


def _check_joinable(first: _Dataset, second: _Dataset) -> None:
    if first.window.end != second.window.start:
        gap = first.window.end < second.window.start
        problem = "leave a gap. Search what lies between them, too." if gap else "overlap. Search windows that touch."
        raise InvalidArgumentError(f"The windows {first.window} and {second.window} {problem}")
    one, other = cast("Mapping[str, object]", first.manifest), cast("Mapping[str, object]", second.manifest)
    for name in sorted((one.keys() | other.keys()) - PER_WINDOW_KEYS):
        if one.get(name) != other.get(name):
            raise InvalidArgumentError(
                f"The datasets of the windows {first.window} and {second.window} differ in {name}: {one.get(name)!r} "
                f"and {other.get(name)!r}. Join datasets of one search."
            )
