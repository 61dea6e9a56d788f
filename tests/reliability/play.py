"""A case played: the day searched window by window, and what came of it judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.window import TimeWindow
from tests.reliability.cases import Case
from tests.reliability.faults import FAULTS
from tests.reliability.search import read_dataset, search
from tests.reliability.store import CANARY, Store

ATTRIBUTE = {"createdAt": "created_at", "updatedAt": "updated_at"}


@dataclass
class Outcome:
    """What came of a case.

    :param whole: searches of a window that gave a result.
    :param errors: those that ended with an error, which was then put right by a retry.
    :param timeouts: sensors that gave up in time on what was not there.
    :param lost: image sets in no result, though the search of their window gave one.
    :param repeated: image sets given more than once.
    :param wrong: whatever else should not be, in words.
    """

    whole: int = 0
    errors: int = 0
    timeouts: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def play(case: Case, store: Store) -> Outcome:
    """Search the windows of the case's day one after the other."""
    if case.lag:
        case = case.ending(datetime.now(UTC))
    store.fill(case)
    outcome, given = Outcome(), Counter[str]()
    for window in case.windows:
        store.break_as(case)
        due = _due(case, store, window)
        records = _attempts(case, store, window, due, outcome)
        store.mend()
        if records is not None:
            outcome.whole += 1
            given.update(record["imageSetId"] for record in records)
            _judge(case, store, window, due, records, outcome)
    outcome.repeated += [image_set_id for image_set_id, times in given.items() if times > 1]
    return outcome


def _attempts(
    case: Case, store: Store, window: TimeWindow, due: Mapping[str, Any], outcome: Outcome
) -> list[dict[str, Any]] | None:
    """Search, and once more where that fails, as Airflow would; ``None`` where a sensor gave up."""
    for attempt in (1, 2):
        try:
            records = search(case, store, window, len(due))
        except AirflowSensorTimeout:
            outcome.timeouts += 1
            if due and case.is_readable:
                outcome.wrong.append("a sensor gave up on what is there")
            return None
        except HealthImagingError as error:
            outcome.errors += 1
            outcome.wrong += _judged(error)
            if attempt == 2:
                outcome.wrong.append(f"the retry failed: {error}")
                return None
            store.mend()
            outcome.wrong += _left_over(case, store, window, due)
        else:
            if FAULTS[case.fault].hopeless and attempt == 1 and due:
                outcome.wrong.append("there was a result though no call could succeed")
            return records
    raise AssertionError("unreachable")


def _due(case: Case, store: Store, window: TimeWindow) -> dict[str, Any]:
    """Return what a search of the window should give now."""
    return {
        image_set_id: row
        for image_set_id, row in store.now().items()
        if getattr(row, ATTRIBUTE[case.time_field]) in window and (not case.narrowed or row.dicom_tags)
    }


def _judged(error: BaseException) -> list[str]:
    """Return what is wrong about an error."""
    wrong = []
    chain: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is not None and each not in chain:
            chain.append(each)
            todo += [each.__cause__, each.__context__]
    if any(CANARY in f"{each} {each!r}" for each in chain):
        wrong.append("an error has patient data in it")
    if isinstance(error, AirflowFailException) or not error.retryable:
        wrong.append(f"what passes failed for good: {error}")
    if not str(error).endswith(".") or len(str(error).split()) < 8:
        wrong.append(f"an error says too little: {error}")
    return wrong


def _left_over(case: Case, store: Store, window: TimeWindow, due: Mapping[str, Any]) -> list[str]:
    """Return what is wrong about what a failed search left in S3: a manifest promises a whole dataset."""
    if case.searcher != "operator to S3":
        return []
    uris = [f"s3://{each.bucket_name}/{each.key}" for each in store.bucket.objects.filter(Prefix=store.datastore_id)]
    start = f"{window.start:%Y%m%dT%H%M%S}"
    manifests = [uri for uri in uris if uri.endswith("_manifest.json") and f"window={start}" in uri]
    sizes = [len(read_dataset(store, uri)) for uri in manifests]
    return [] if all(size == len(due) for size in sizes) else ["a manifest of a part of the result was left behind"]


def _judge(
    case: Case,
    store: Store,
    window: TimeWindow,
    due: Mapping[str, Any],
    records: list[dict[str, Any]],
    outcome: Outcome,
) -> None:
    now = store.now()
    ids = [record["imageSetId"] for record in records]
    outcome.repeated += [image_set_id for image_set_id, times in Counter(ids).items() if times > 1]
    # What changed while it was searched for has moved out of a window that is over; what vanished is not owed.
    owed = {each for each in due if each in now and (case.time_field == "createdAt" or now[each] == due[each])}
    if not case.is_content_with_less:
        outcome.lost += sorted(owed - set(ids))
    if unasked := set(ids) - due.keys():
        outcome.wrong.append(f"{len(unasked)} image sets that are not in {window}")
    for record in records:
        if record["imageSetId"] in due:
            outcome.wrong += _compared(record, due[record["imageSetId"]], now.get(record["imageSetId"]))
    moments = [record[case.time_field] for record in records]
    if case.time_field == "createdAt" and moments != sorted(moments):
        outcome.wrong.append("not in order of time")


def _compared(record: Mapping[str, Any], before: Any, now: Any) -> list[str]:
    """Return what is wrong about a record, beside what was put in and what has become of it."""
    latest = now.version if now else record["version"]
    if not before.version <= record["version"] <= latest:
        return [f"version {record['version']} of what has {before.version} to {latest}"]
    if _text(record["createdAt"]) != _milliseconds(before.created_at):
        return [f"createdAt {record['createdAt']} for {before.created_at}"]
    if record["version"] == before.version and _text(record["updatedAt"]) != _milliseconds(before.updated_at):
        return [f"updatedAt {record['updatedAt']} for {before.updated_at}"]
    return []


def _text(value: Any) -> str:
    return _milliseconds(value) if isinstance(value, datetime) else value


def _milliseconds(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
