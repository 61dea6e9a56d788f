"""Measures the limit of the server: searches over raw HTTP, without botocore and without parsing the responses."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

from benchmarks.clients import criteria
from benchmarks.service import KEY, REGION

_SCOPE = f"{KEY}/20260101/{REGION}/medical-imaging/aws4_request"
_HEADERS = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={_SCOPE}, SignedHeaders=host, Signature=none",
    "Content-Type": "application/json",
}
_TOKEN = b'"nextToken": "'


def calls_per_second(url: str, datastore_id: str, threads: int, seconds: float = 5) -> float:
    """Return how many pages per second all threads read. Each thread reads the data store from its beginning."""
    body = json.dumps(criteria(), default=lambda moment: moment.timestamp())
    path = f"/datastore/{datastore_id}/searchImageSets?maxResults=50"

    def read(until: float) -> int:
        connection = HTTPConnection(urlsplit(url).netloc)
        token, pages = "", 0
        while time.perf_counter() < until:
            connection.request("POST", f"{path}&nextToken={quote(token)}" if token else path, body, _HEADERS)
            response = connection.getresponse()
            page = response.read()
            if response.status != HTTPStatus.OK:
                raise RuntimeError(f"status {response.status}")
            _, found, rest = page.rpartition(_TOKEN)
            token = rest.partition(b'"')[0].decode() if found else ""
            pages += 1
        connection.close()
        return pages

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        pages = sum(pool.map(read, [started + seconds] * threads))
    return pages / (time.perf_counter() - started)
