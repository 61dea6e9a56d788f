"""A live Airflow beside a HealthImaging that fills up: what mocks and ``dag.test()`` cannot show."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise, product

import pytest

from airflow_provider_healthimaging.window import TimeWindow, format_utc
from tests.airflow.places import Evidence, Place, shown
from tests.reporting import report

from .conftest import CANARIES, DATASTORE_ID, LEAKED, PATIENT
from .kills import idle

TASK = "/api/v2/dags/{}/dagRuns/{}/taskInstances/{}"


def xcom(airflow, dag_id, run_id, task_id, key="return_value"):
    path = TASK.format(dag_id, run_id, task_id)
    return airflow.get(f"{path}/xcomEntries/{key}", stringify="false")["value"]


def state(airflow, dag_id, run_id, task_id):
    return airflow.get(TASK.format(dag_id, run_id, task_id))["state"]


def deferred(airflow, dag_id):
    """Start a run, and return its id once its sensor's trigger runs, and the scheduler knows.

    Airflow fails a task that wakes before the scheduler has read that its worker is done with it.
    """
    run_id = airflow.run_dag(dag_id)
    airflow.wait_for(lambda: state(airflow, dag_id, run_id, "wait") == "deferred", f"{dag_id} deferred")
    airflow.wait_for(lambda: triggers(airflow, "HealthImagingImageSetTrigger"), f"{dag_id}'s trigger assigned")
    known = f"Received executor event with state success for task instance TaskInstanceKey(dag_id='{dag_id}'"
    airflow.wait_for(lambda: known in dict(airflow.log_files())["scheduler.log"], f"{dag_id} known to be deferred")
    return run_id


def triggers(airflow, name):
    return airflow.rows(
        "SELECT id, kwargs FROM trigger WHERE classpath LIKE :name AND triggerer_id IS NOT NULL", name=f"%.{name}"
    )


def watchers(airflow):
    return airflow.rows(
        "SELECT trigger.id, trigger.kwargs FROM trigger JOIN asset_watcher ON asset_watcher.trigger_id = trigger.id"
        " JOIN asset ON asset.id = asset_watcher.asset_id"
        " WHERE asset.name = 'studies' AND trigger.triggerer_id IS NOT NULL"
    )


def succeeded(airflow, dag_id, run_id):
    airflow.wait_for(lambda: state(airflow, dag_id, run_id, "wait") in {"success", "failed"}, f"{dag_id} ended")
    assert state(airflow, dag_id, run_id, "wait") == "success"
    return xcom(airflow, dag_id, run_id, "wait")


def windows(history):
    return [TimeWindow(**payload["window"]) for payload in history.payloads()]


def test_deferred_sensor_wakes_when_its_study_arrives_and_returns_the_records(airflow, arrivals):
    run_id = deferred(airflow, "wait_for_study_1")
    (trigger,) = triggers(airflow, "HealthImagingImageSetTrigger")
    assert '"search_criteria": "sealed:' in trigger.kwargs
    assert not [name for name, kept in airflow.tables() if found(CANARIES, kept)]
    now = datetime.now(UTC)

    image_set_id = arrivals.put(now, DICOMAccessionNumber=PATIENT.accession_numbers[0])

    assert succeeded(airflow, "wait_for_study_1", run_id) == [
        {
            "datastoreId": DATASTORE_ID,
            "imageSetId": image_set_id,
            "version": 1,
            "createdAt": format_utc(now, timespec="milliseconds"),
            "updatedAt": format_utc(now, timespec="milliseconds"),
            "isPrimary": True,
        }
    ]


def test_killed_triggerer_loses_neither_a_deferred_sensor_nor_an_announced_event(airflow, arrivals, history):
    run_id = deferred(airflow, "wait_for_study_2")
    arrivals.put(datetime.now(UTC))
    announced = airflow.wait_for(history.stored_and_not_acknowledged, "an event that is stored, and not acknowledged")

    airflow.kill("triggerer")
    image_set_id = arrivals.put(datetime.now(UTC), DICOMAccessionNumber=PATIENT.accession_numbers[1])
    airflow.start("triggerer")

    assert [each["imageSetId"] for each in succeeded(airflow, "wait_for_study_2", run_id)] == [image_set_id]
    airflow.wait_for(lambda: announced in history.payloads(), "the event that was announced")
    now = datetime.now(UTC)
    arrivals.put(now)
    airflow.wait_for(lambda: windows(history)[-1].end > now, "events go on")


def test_each_batch_starts_a_run_and_every_image_set_is_handed_on_exactly_once(airflow, arrivals, history):
    arrivals.join()
    last = max(arrivals.created_at.values())
    airflow.wait_for(lambda: windows(history)[-1].end > last, "the last batch announced")
    airflow.wait_for(lambda: idle(airflow, "on_arrival", "studies"), "a run for each batch")

    assert history.readings > 100
    assert not history.faults, "the watermark never passes an event that is not in the database"
    events = windows(history)
    for one, next_one in pairwise(dict.fromkeys(events)):
        assert one.end == next_one.start, "windows touch; what is repeated is repeated whole"
    repeated = list((Counter(events) - Counter(set(events))).elements())

    starts, ends = {window.start for window in events}, {window.end for window in events}
    handed_on, skipped = Counter(), 0
    runs = airflow.get("/api/v2/dags/on_arrival/dagRuns", limit=1000)["dag_runs"]
    assert len(runs) > 5
    for run in runs:
        assert run["state"] == "success"
        if state(airflow, "on_arrival", run["dag_run_id"], "search") == "skipped":
            skipped += 1
            continue
        summary = xcom(airflow, "on_arrival", run["dag_run_id"], "search", "summary")
        own = TimeWindow(**summary["window"])
        assert "rule 5" in summary["rule"]
        assert own.start in starts
        assert own.end in ends
        handed_on.update(each["imageSetId"] for each in xcom(airflow, "on_arrival", run["dag_run_id"], "search"))
    assert handed_on == Counter(dict.fromkeys(arrivals.created_at, 1))
    assert skipped <= len(repeated)
    counts = f"{len(events)} events ({len(repeated)} repeated), {len(runs)} runs ({skipped} skipped)"
    print(f"{len(handed_on)} image sets, {counts}")  # noqa: T201


def test_watcher_is_the_same_trigger_after_its_file_was_parsed_again(airflow, history):
    (before,) = watchers(airflow)
    parsed = "SELECT last_parsed_time FROM dag WHERE dag_id = 'on_arrival'"
    first = airflow.rows(parsed)
    airflow.wait_for(lambda: airflow.rows(parsed) != first, "the file parsed again")

    assert watchers(airflow) == [before]
    (versions,) = airflow.rows("SELECT count(*) AS number FROM dag_version WHERE dag_id = 'on_arrival'")
    assert versions.number == 1


@pytest.fixture(scope="module")
def leaked(airflow):
    """A run of a task that does what this package does not."""
    run_id = airflow.run_dag("leak")
    airflow.wait_for(lambda: state(airflow, "leak", run_id, "leak") == "success", "the leak")


@pytest.fixture(scope="module")
def evidence(airflow, arrivals, leaked):
    """All that this deployment keeps, logs at DEBUG, and answers, in lower case."""
    assert arrivals.created_at
    evidence = Evidence({word: word for word in CANARIES})
    for name, kept in airflow.tables():
        evidence.note(f"table {name}", kept.lower())
    for name, kept in airflow.log_files():
        kind = "trigger" if "trigger" in name and "wait_for_study" in name else "task" if "task_id" in name else name
        evidence.note(f"log of {kind}", kept.lower())
    for url, answer in rest_answers(airflow):
        evidence.note("rest", f"{url}: {answer}".lower())
    return evidence


def everything(kind):
    return lambda evidence: (
        text.encode() for name, texts in evidence.texts.items() if name.startswith(kind) for text in texts
    )


DROPPED = "debug lines of botocore about calls to healthimaging are dropped"
PLACES = (
    *(
        Place(f"{table}, live", shown(f"table {table}"), controls)
        for table, controls in {
            "xcom": (DATASTORE_ID, LEAKED),
            "rendered_task_instance_fields": (LEAKED, r"\*\*\*"),
            "serialized_dag": (DATASTORE_ID,),
            "asset_event": (DATASTORE_ID,),
            "asset_state_store": ("healthimaging_watermark",),
            "trigger": ("healthimagingnewimagesetstrigger",),
        }.items()
    ),
    Place("every table, live", everything("table"), (DATASTORE_ID, LEAKED)),
    Place("task log at DEBUG, live", shown("log of task"), (DROPPED, LEAKED, "filters on dicomaccessionnumber")),
    Place("triggerer log at DEBUG, live", shown("log of triggerer.log"), (DROPPED, DATASTORE_ID)),
    Place("log of a task's trigger at DEBUG, live", shown("log of trigger"), ("trigger",)),
    Place("every log, live", everything("log"), (DROPPED, LEAKED)),
    Place("REST responses, live", shown("rest"), (DATASTORE_ID, LEAKED)),
)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_no_patient_data_is_kept_logged_or_answered_in(place, evidence):
    told = place.report(evidence)

    assert told["control_found"], f"nothing can be said of {place.name}: {place.control} is not found there"
    assert told["hits"] == []


def test_the_report_of_all_places_says_that_each_was_searched(evidence):
    rows = [place.report(evidence) for place in PLACES]
    report("patient_data_live.json", rows)

    assert all(row["control_found"] and row["searched"] for row in rows)


def found(words, kept):
    return any(word in kept.lower() for word in words)


def rest_answers(airflow):
    """Yield what the REST API answers to every question about what has run here."""
    known = {"asset_id": [1], "map_index": [-1], "task_try_number": [1], "try_number": [1], "version_number": [1]}
    known |= {"key": ["healthimaging_watermark"], "event_log_id": range(1, 5), "pool_name": ["default_pool"]}
    instances = airflow.rows(
        "SELECT dag_id, min(run_id) AS run_id, task_id FROM task_instance GROUP BY dag_id, task_id"
        " UNION SELECT dag_id, max(run_id), task_id FROM task_instance GROUP BY dag_id, task_id"
    )
    keys = {key for (key,) in airflow.rows("SELECT DISTINCT key FROM xcom")}
    for path in airflow.get("/openapi.json")["paths"]:
        names = set(re.findall(r"{(\w+)}", path))
        for dag_id, run_id, task_id in instances if names & {"dag_id", "dag_run_id"} else [(None,) * 3]:
            here = {"dag_id": [dag_id], "dag_run_id": [run_id], "task_id": [task_id], "xcom_key": keys, **known}
            if not names <= here.keys():
                break
            for values in product(*(here[name] for name in names)):
                url = path.format(**dict(zip(names, values, strict=True)))
                yield url, airflow.answers(url)
