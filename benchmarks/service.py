"""Runs the local HealthImaging and S3 in a separate process. The benchmarks fill and configure it, and count its calls.

Its data stay in that process. The measured code uses it over HTTP only.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from benchmarks import data

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

BUCKET = "benchmark"
KEY = "testing"
REGION = "us-east-1"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_DEFAULT_REGION": REGION}


class Calls(NamedTuple):
    """The calls of SearchImageSets, counted at the server, and how many of them were throttled."""

    all: int
    throttled: int

    @property
    def answered(self) -> int:
        """The calls that were not throttled."""
        return self.all - self.throttled


class Service:
    """The process. It runs while the context is active."""

    url: str

    def __enter__(self) -> Self:
        """Start the process."""
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.url = self._pipe.recv()
        self._stores: dict[tuple[int, str, int], str] = {}
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def store(self, image_sets: int, layout: str = "uniform", seed: int = 0) -> str:
        """Return the id of a data store with ``image_sets`` image sets. The first request fills it."""
        wanted = image_sets, layout, seed
        if wanted not in self._stores:
            self._stores[wanted] = self._ask("fill", *wanted)
        return self._stores[wanted]

    def limit(
        self,
        *,
        calls_per_second: float | None = None,
        burst: int = 50,
        latency: float = 0.0,
        others: float = 0.0,
        throttle_rate: float = 0.0,
    ) -> None:
        """Set the quota and the latency. The token bucket is full, and the count of calls starts at zero.

        :param others: calls per second of other users of the account, which are not counted.
        :param throttle_rate: the share of calls that are throttled whatever the quota.
        """
        self._ask("limit", calls_per_second, burst, latency, others, throttle_rate)

    def files(self, frames: int, instances: int, seed: int = 0) -> dict[str, Any]:
        """Return ``records`` of a data store with one series of DICOM files, each with so many small frames."""
        from benchmarks import clients

        records = self._ask("files", frames, instances, seed)
        # The service describes and encodes pixels when it is first asked for them. This is no part of what is measured.
        client = clients.boto3_client(self.url)
        for record in records:
            client.get_image_set_metadata(datastoreId=record["datastoreId"], imageSetId=record["imageSetId"])
        return {"records": records}

    def large_file(self, size: int) -> dict[str, Any]:
        """Return ``records`` of a data store with one DICOM file of so many bytes, without pixels."""
        return {"records": self._ask("large_file", size)}

    def retrieval(self, *, latency: float = 0.0, quota: float | None = None) -> None:
        """Set the latency, and the quotas of metadata, frames and instances as a multiple of AWS's."""
        self._ask("retrieval", latency, quota)

    def calls(self) -> Calls:
        """Return the calls since ``limit``."""
        return Calls(*self._ask("calls"))

    def cpu(self) -> float:
        """Return the seconds of CPU that the process has used so far."""
        return float(self._ask("cpu"))

    def _ask(self, *question: Any) -> Any:
        self._pipe.send(question)
        return self._pipe.recv()


class _Answers:
    """The requests that the process answers, one method each."""

    def __init__(self, server: Any, state: Any) -> None:
        self._server, self._state = server, state
        self._numbers = itertools.count()
        self._others_end, self._others = Event(), Thread()
        self._others.start()
        self._folder = tempfile.TemporaryDirectory()

    def fill(self, image_sets: int, layout: str, seed: int) -> str:
        from moto.medicalimaging.search import Query

        # All objects made here stay alive, and the garbage collector would traverse them again and again.
        gc.disable()
        datastore_id = f"{next(self._numbers):032d}"
        self._state.create_datastore("benchmark", datastore_id=datastore_id)
        for created_at, tags in data.image_sets(image_sets, layout, seed):
            self._state.put_image_set(datastore_id, created_at=created_at, dicom_tags=tags)
        # The image sets are sorted here, and not in the first search that is measured.
        self._state.search_image_sets(datastore_id, Query((), "createdAt", "ASC"), limit=1, next_token=None)
        gc.freeze()
        gc.enable()
        return datastore_id

    def limit(
        self, calls_per_second: float | None, burst: int, latency: float, others: float, throttle_rate: float
    ) -> None:
        self._others_end.set()
        self._others.join()
        settings = self._state.settings
        settings.calls_per_second = None
        # A call without a quota fills the bucket.
        self._state.admit_search()
        settings.calls_per_second, settings.burst, settings.latency = calls_per_second, burst, latency
        settings.throttle_rate = throttle_rate
        self._server.calls.reset()
        self._others_end, self._others = Event(), Thread(target=self._use, args=(others,), daemon=True)
        self._others.start()

    def _use(self, calls_per_second: float) -> None:
        """Take tokens as another user of the account does, who never slows down."""
        from moto.medicalimaging.exceptions import ThrottlingError

        while calls_per_second and not self._others_end.wait(1 / calls_per_second):
            with suppress(ThrottlingError):
                self._state.admit_search()

    def files(self, frames: int, instances: int, seed: int) -> list[dict[str, Any]]:
        return self._load(data.dicom_files(frames, instances, seed))

    def large_file(self, size: int) -> list[dict[str, Any]]:
        return self._load([data.large_dicom_file(size)])

    def _load(self, files: Iterable[bytes]) -> list[dict[str, Any]]:
        from airflow_provider_healthimaging.local import load_dicom

        datastore_id = f"{next(self._numbers):032d}"
        self._state.create_datastore("benchmark", datastore_id=datastore_id)
        folder = Path(self._folder.name, datastore_id)
        folder.mkdir()
        for number, content in enumerate(files):
            (folder / f"{number}.dcm").write_bytes(content)
        load_dicom([folder], datastore_id, backend=self._state)
        found = self._state.image_sets(datastore_id)
        return [{"datastoreId": datastore_id, "imageSetId": each.image_set_id, "version": 1} for each in found]

    def retrieval(self, latency: float, quota: float | None) -> None:
        settings = self._state.settings
        settings.latency, settings.retrieval_quota = latency, None
        time.sleep(0 if quota is None else 2.1)
        settings.retrieval_quota = quota
        self._server.calls.reset()

    def calls(self) -> tuple[int, int]:
        count = self._server.calls.count
        return count("SearchImageSets"), count("SearchImageSets", status=429)

    def cpu(self) -> float:
        return time.process_time()


def _serve(pipe: Connection) -> None:
    import boto3

    from airflow_provider_healthimaging.local import LocalServer, backend

    with LocalServer() as server:
        s3 = boto3.client(
            "s3", endpoint_url=server.url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=KEY
        )
        s3.create_bucket(Bucket=BUCKET)
        pipe.send(server.url)
        answers = _Answers(server, backend(region=REGION))
        while True:
            try:
                name, *arguments = pipe.recv()
            except EOFError:
                return
            pipe.send(getattr(answers, name)(*arguments))
