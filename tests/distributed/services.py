"""PostgreSQL and Redis for the distributed test: those that answer on this machine, else those that it starts.

What it starts are the programs of Debian's packages ``postgresql`` and ``redis-server``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest
import redis

from tests.deployment import free_port

SUPERUSER = "postgres"
DATABASES = range(15, 0, -1)
"""Redis's numbers of databases, but for that which everybody uses."""


@contextmanager
def postgresql() -> Iterator[None]:
    """Have ``PG*`` say where a PostgreSQL is."""
    if _postgresql_answers():
        yield
        return
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
    assert programs, "no PostgreSQL answers, and none is installed: apt-get install postgresql"
    with pytest.MonkeyPatch.context() as environment, tempfile.TemporaryDirectory() as directory:
        # It refuses to run as root.
        user = SUPERUSER if os.geteuid() == 0 else None
        if user:
            shutil.chown(directory, user)
        files, port = f"{directory}/data", str(free_port())
        initdb = [programs / "initdb", "--auth=trust", f"--username={SUPERUSER}", "--no-sync", files]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=directory, user=user)
        environment.setenv("PGHOST", "127.0.0.1")
        environment.setenv("PGPORT", port)
        environment.setenv("PGUSER", SUPERUSER)
        options = ["-D", files, "-p", port, "-k", directory, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with _running([str(programs / "postgres"), *options], _postgresql_answers, directory, user):
            yield


def _postgresql_answers() -> bool:
    try:
        psycopg2.connect(
            host=os.environ.get("PGHOST", "127.0.0.1"),
            user=os.environ.get("PGUSER", SUPERUSER),
            dbname="postgres",
            connect_timeout=3,
        ).close()
    except psycopg2.OperationalError:
        return False
    return True


@contextmanager
def redis_database() -> Iterator[str]:
    """Yield the URL of a Redis database that nobody uses, and leave it empty."""
    port = 6379
    if _redis_answers(port):
        with _own_database(port) as url:
            yield url
        return
    program, port = shutil.which("redis-server"), free_port()
    assert program, "no Redis answers, and none is installed: apt-get install redis-server"
    with tempfile.TemporaryDirectory() as directory:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        with _running(command, lambda: _redis_answers(port), directory), _own_database(port) as url:
            yield url


def _redis_answers(port: int) -> bool:
    try:
        with redis.Redis(port=port, socket_timeout=3) as client:
            return client.ping()
    except redis.ConnectionError:
        return False


@contextmanager
def _own_database(port: int) -> Iterator[str]:
    for number in DATABASES:
        with redis.Redis(port=port, db=number) as client:
            # Whoever sets it first has the database, if nothing else was in it.
            if not client.set("taken by tests of airflow-provider-healthimaging", os.getpid(), nx=True):
                continue
            if client.dbsize() > 1:
                client.delete("taken by tests of airflow-provider-healthimaging")
                continue
            try:
                yield f"redis://127.0.0.1:{port}/{number}"
            finally:
                client.flushdb()
            return
    raise AssertionError(f"Redis on port {port} has no empty database.")


@contextmanager
def _running(
    command: list[str], answers: Callable[[], bool], directory: str, user: str | None = None
) -> Iterator[None]:
    with Path(directory, "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=directory, user=user)
    try:
        deadline = time.monotonic() + 60
        while not answers():
            assert process.poll() is None, Path(directory, "log").read_text()
            assert time.monotonic() < deadline, f"{command[0]} does not answer"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        process.kill()
