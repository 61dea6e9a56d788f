"""Where patient data could end up, as a table: each place, how to read it, and what a reading that works must find.

``CONTROL`` is no patient data. It goes the ways that patient data must not go: ``tests/dags/canaries.py`` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

DATASTORE_ID = "d" * 32
CONTROL = "control0815"


@dataclass
class Evidence:
    """What was left behind by runs that search by patient data, and fail in every way."""

    canaries: Mapping[str, str] = field(default_factory=dict)
    airflow: list[tuple[str, bytes]] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def note(self, place: str, *texts: object) -> None:
        """Keep what a place shows."""
        self.texts.setdefault(place, []).extend(str(text) for text in texts)


Collect = Callable[[Evidence], Iterable[bytes]]


@dataclass(frozen=True)
class Place:
    """One place to look.

    :param collect: gives all that is kept or shown there.
    :param control: regular expressions; unless each is found, nothing can be said of the place.
    :param since: the first Airflow that has the place.
    """

    name: str
    collect: Collect
    control: tuple[str, ...]
    since: str = "2.11"

    def report(self, evidence: Evidence) -> dict[str, object]:
        """Look, and say how much was searched, whether the control was found, and where the canaries were found."""
        searched = list(self.collect(evidence))
        everything = b"\n".join(searched)
        hits = sorted(tag for tag, value in evidence.canaries.items() if value.encode() in everything)
        found = all(re.search(control.encode(), everything) for control in self.control)
        return {
            "place": self.name,
            "searched": len(everything),
            "items": len(searched),
            "planted": len(evidence.canaries),
            "control_found": bool(evidence.canaries) and found,
            "hits": hits,
        }


def tables(*names: str) -> Collect:
    """Every value in every row of tables of Airflow's database."""
    return lambda evidence: (
        value for where, value in evidence.airflow if where.partition(".")[0] in names and where.endswith("]")
    )


def shown(name: str) -> Collect:
    """What the gathering noted under a name."""
    return lambda evidence: (text.encode() for text in evidence.texts.get(name, []))


def in_s3(kind: str) -> Collect:
    """Keys, objects or requests: what S3 has, and what it was sent, be it deleted since."""
    return lambda evidence: (value for where, value in evidence.stored.items() if where.startswith(kind))


COPY_PLACES = (
    Place("XCom", tables("xcom"), (CONTROL, "s3_uri", "image_sets_failed")),
    Place("rendered templates", tables("rendered_task_instance_fields"), (CONTROL, "s3://image-sets/copies/")),
    # The command line of Airflow 2 and 3.0 stores none.
    Place("serialized DAG", tables("serialized_dag"), ("canary_copies", "image-sets/copies"), since="3.1"),
    Place("every table and file of Airflow", lambda evidence: (value for _, value in evidence.airflow), (CONTROL,)),
    Place(
        "task log at DEBUG",
        shown("log at DEBUG"),
        # What botocore says there of another client's call, to the same service.
        (CONTROL, r"Making request for .*name=GetImageSetMetadata"),
    ),
    Place("S3 keys", in_s3("key"), (r"/v1/_manifest\.json", r"/v1/metadata\.json\.gz", r"/v1/dicom/00001\.dcm")),
    Place("manifests", in_s3("object"), ('"crc32"', "transfer_?[sS]yntax")),
    Place("headers of S3 objects and requests", in_s3("header"), ("(?i)x-amz-meta-",)),
    Place("OpenLineage events", shown("lineage"), (r"canary_copies\.copy",)),
)
"""Of copies to S3, but for the content of what was asked for: DICOM files, frames and metadata."""

PLACES = (
    Place("XCom", tables("xcom"), (CONTROL, "imageSetId")),
    Place("rendered templates", tables("rendered_task_instance_fields"), (CONTROL, r"\*\*\*")),
    Place("serialized DAG", tables("serialized_dag"), ("canary_control", "to_xcom")),
    Place("asset events", tables("asset_event", "dataset_event"), (DATASTORE_ID,)),
    Place("asset state store", tables("asset_state_store"), ("healthimaging_watermark",), since="3.3"),
    Place("trigger rows, decrypted", shown("trigger rows"), (DATASTORE_ID, "sealed:", CONTROL)),
    Place("repr and str of triggers", shown("triggers"), (DATASTORE_ID,)),
    Place("events of triggers", shown("trigger events"), ("timeout", "failed")),
    Place(
        "every table and file of Airflow",
        lambda evidence: (value for _, value in evidence.airflow),
        (CONTROL, "imageSetId"),
    ),
    Place("task and trigger log at INFO", shown("log at INFO"), (CONTROL, "filters on DICOMPatientId")),
    Place(
        "task and trigger log at DEBUG",
        shown("log at DEBUG"),
        # What botocore says there of another client's call, to the same service and to S3.
        (
            CONTROL,
            "filters on DICOMPatientId",
            rf"Making request for .*name=SearchImageSets.*{CONTROL}",
            r"Making request for .*name=PutObject.*_manifest\.json",
        ),
    ),
    Place("exceptions and their chains", shown("exceptions"), (CONTROL, DATASTORE_ID, "ValidationException")),
    Place("S3 keys", in_s3("key"), (r"part-00002\.jsonl\.gz", r"_manifest\.json", r"_progress\.json")),
    Place("S3 objects, manifest and checkpoint", in_s3("object"), ("imageSetId", '"image_sets": 3', '"after"')),
    Place("headers of S3 objects and requests", in_s3("header"), ("(?i)content-type",)),
    Place("OpenLineage events", shown("lineage"), (r"canaries\.to_s3", "COMPLETE", '"rowCount": ?3')),
    Place("REST responses", shown("rest"), (CONTROL, "to_xcom", r"\*\*\*"), since="3.0"),
    *(
        Place(f"repr and str of {name}", shown(name), (control,))
        for name, control in (
            ("operator", "Operator"),
            ("sensor", "Sensor"),
            ("hook", "HealthImagingHook"),
            ("window", "2026-03-01"),
            ("criteria", r"DICOMPatientId.*\*\*\*"),
            ("match", r"DICOMAccessionNumber.*\*\*\*"),
        )
    ),
)
