"""One manifest out of many: the datasets of windows that touch, as the dataset of the window that they make up.

    s3://bucket/prefix/
        window=20250101T000000Z_20250701T000000Z/   part-00000.jsonl.gz  _manifest.json
        window=20250701T000000Z_20260101T000000Z/   part-00000.jsonl.gz  _manifest.json
        window=20250101T000000Z_20260101T000000Z/   _manifest.json: lists the parts of both

No part is copied, or read. It knows manifests and windows, and nothing of searches.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.aws.error_table import S3
from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError, ServiceError
from airflow_provider_healthimaging.output.dataset import parse_s3_uri, window_folder, write_manifest
from airflow_provider_healthimaging.aws.errors import FAULTS, explaining
from airflow_provider_healthimaging.window import TimeWindow

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

OWN = frozenset({"window", "image_sets", "parts"})
"""What a manifest says of its own window; all else (data store, time field, format) must be the same to be joined."""


@dataclass(frozen=True, slots=True)
class _Dataset:
    """One to be joined: its window, and what its manifest says."""

    window: TimeWindow
    manifest: Mapping[str, Any]


def join_manifests(hook: S3Hook, manifests: Iterable[str], s3_uri: str) -> dict[str, Any]:
    """Write one manifest that lists the parts of many datasets in order of time, and return its summary.

    The same manifests, in whatever order, write the same key and the same bytes. They say nothing of what was
    searched for within their windows: join those of one search only.

    :param hook: amazon's ``S3Hook``; its ``extra_args`` (encryption) go with the manifest written.
    :param manifests: ``s3://`` URIs of ``_manifest.json`` files; their windows must touch, once sorted.
    :param s3_uri: ``s3://bucket/prefix/`` under which ``window=<start>_<end>/_manifest.json`` is written.
    :return: ``s3_uri`` of that folder, ``manifest``, and the numbers of ``image_sets`` and ``parts``.
    :raises InvalidArgumentError: where windows leave a gap or overlap, or the datasets are not alike.
    :raises HealthImagingError: where a manifest is not there, so that its dataset is not complete.
    """
    bucket, prefix = parse_s3_uri(s3_uri)
    datasets = sorted((_read(hook, uri) for uri in manifests), key=lambda each: (each.window.start, each.window.end))
    if not datasets:
        raise InvalidArgumentError("No manifest was given, and there is nothing to join. Give one at least.")
    for one, next_one in itertools.pairwise(datasets):
        _check_belong_together(one, next_one)
    window = TimeWindow(datasets[0].window.start, datasets[-1].window.end)
    parts = [part for dataset in datasets for part in dataset.manifest["parts"]]
    image_sets = sum(dataset.manifest["image_sets"] for dataset in datasets)
    joined = {**datasets[0].manifest, "window": window.to_dict(), "image_sets": image_sets, "parts": parts}
    folder = prefix + window_folder(window)
    return explaining(lambda: write_manifest(hook, bucket, folder, joined), s3_uri, S3, FAULTS)


def _read(hook: S3Hook, uri: str) -> _Dataset:
    bucket, key = parse_s3_uri(uri)
    try:
        text = explaining(lambda: hook.read_key(key.rstrip("/"), bucket), uri, S3, FAULTS)
    except ServiceError as error:
        if error.code not in {"404", "NoSuchKey"}:
            raise
        raise HealthImagingError(
            f"There is no manifest at {uri}, so its dataset is not complete. Search its window again, and then join."
        ) from None
    try:
        manifest = json.loads(text)
        parts, image_sets, window = manifest["parts"], manifest["image_sets"], manifest["window"]
    except (ValueError, KeyError, TypeError):
        parts = image_sets = window = None
    if not isinstance(parts, list) or not isinstance(image_sets, int):
        raise InvalidArgumentError(f"{uri} is no manifest of a dataset. Give the 'manifest' of what a search returned.")
    if window is None:
        raise InvalidArgumentError(f"{uri} is of a search without a window, and only windows can be joined.")
    return _Dataset(TimeWindow(**window), manifest)


def _check_belong_together(one: _Dataset, next_one: _Dataset) -> None:
    if one.window.end != next_one.window.start:
        gap = one.window.end < next_one.window.start
        raise InvalidArgumentError(
            f"The windows {one.window} and {next_one.window} "
            + ("leave a gap. Search what is between them, too." if gap else "overlap. Search windows that touch.")
        )
    for name in sorted((one.manifest.keys() | next_one.manifest.keys()) - OWN):
        values = one.manifest.get(name), next_one.manifest.get(name)
        if values[0] != values[1]:
            raise InvalidArgumentError(
                f"The datasets of the windows {one.window} and {next_one.window} differ in {name}: {values[0]!r} and "
                f"{values[1]!r}. Join datasets of one search."
            )
