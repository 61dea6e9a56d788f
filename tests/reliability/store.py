"""The local service as a case needs it: filled, set to fail, and read back from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import urlsplit

from moto.core.exceptions import JsonRESTError

from airflow_provider_healthimaging.local import backend
from tests.reliability.cases import DAY, Case
from tests.reliability.faults import FAULTS

BUCKET = "image-sets"
CANARY = "CANARY-4711"
TAGS = {"DICOMPatientId": CANARY, "DICOMPatientName": CANARY}


class FailingS3:
    """Middleware that answers a share of the requests to S3 with 503, as S3 does when it is asked to slow down."""

    def __init__(self) -> None:
        self.rate = 0.0
        self.random = Random(0)

    def __call__(self, app: Any) -> Any:
        def answer(environ: Mapping[str, Any], start_response: Any) -> Any:
            if "/s3/aws4_request" in environ.get("HTTP_AUTHORIZATION", "") and self.random.random() < self.rate:
                start_response("503 Slow Down", [("Content-Type", "application/xml")])
                return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]
            return app(environ, start_response)

        return answer


@dataclass
class Store:
    """A data store of the local service with a case's image sets in it, and a bucket to write to."""

    s3: FailingS3
    bucket: Any
    datastore_id: str
    filled_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def fill(self, case: Case) -> None:
        """Put the case's image sets in, every second one with a patient id to search by."""
        state = backend()
        for number, moment in enumerate(case.moments):
            # What came before the last window's start has been found long since.
            state.settings.index_lag = case.lag.total_seconds() if moment >= case.windows[-1].start else 0.0
            times = {"created_at": moment - DAY, "updated_at": moment}
            if case.time_field == "createdAt":
                times = {"created_at": moment, "updated_at": moment + 9 * DAY}
            state.put_image_set(
                self.datastore_id, image_set_id=f"{number:032x}", dicom_tags=TAGS if number % 2 else None, **times
            )
        state.settings.seed = case.seed
        self.filled_at = datetime.now(UTC)

    def break_as(self, case: Case) -> None:
        """Switch the case's faults on, which go on where they were in the window before."""
        settings = {name: value for name, value in case.settings.items() if name != "seed"}
        self.s3.rate, self.s3.random = settings.pop("s3_error_rate", 0.0), Random(case.seed)
        backend().settings.update(settings)
        if FAULTS[case.fault].hopeless and "burst" in settings:
            with suppress(JsonRESTError):
                backend().admit_search()

    def mend(self) -> None:
        """Switch every fault off that could make a search fail."""
        self.s3.rate = 0.0
        off = dict.fromkeys(("error_rate", "cut_rate", "slow_rate", "expired_token_rate"), 0)
        backend().settings.update({**off, "calls_per_second": None, "token_lifetime": None})

    def now(self) -> dict[str, Any]:
        """Return the image sets that are there now, by id."""
        return {row.image_set_id: row for row in backend().image_sets(self.datastore_id)}

    def read(self, uri: str) -> bytes:
        """Return an object's content."""
        return bytes(self.bucket.Object(urlsplit(uri).path.removeprefix("/")).get()["Body"].read())
