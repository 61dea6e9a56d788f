"""A whole Airflow of its own: database, processes, REST API and logs; it knows nothing of what is tested."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import psycopg2
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import create_engine, inspect, text

T = TypeVar("T")

COMPONENTS = {
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag_processor": ("dag-processor",),
    "api_server": ("api-server", "--host", "127.0.0.1"),
}
"""What every deployment has: for each, the arguments of Airflow's command line."""

HAVE_HEALTH = {"scheduler", "triggerer", "dag_processor"}
USER = "admin"


@contextmanager
def metadata_database(home: Path) -> Iterator[str]:
    """Make a database, on PostgreSQL where one answers on this machine (as ``PG*`` say), else in a SQLite file."""
    try:
        postgres = psycopg2.connect(
            host=os.environ.get("PGHOST", "127.0.0.1"),
            user=os.environ.get("PGUSER", "postgres"),
            dbname="postgres",
            connect_timeout=3,
        )
    except psycopg2.OperationalError:
        yield f"sqlite:///{home}/airflow.db"
        return
    name, at = f"airflow_test_{os.getpid()}", postgres.info
    postgres.autocommit = True
    with postgres.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield f"postgresql+psycopg2://{at.user}:{at.password or ''}@{at.host}:{at.port}/{name}"
        finally:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    postgres.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Deployment:
    """Scheduler, DAG processor, API server and what else is asked for, each a process in a session of its own."""

    def __init__(
        self,
        home: Path,
        database: str,
        dags: Path,
        environment: dict[str, str],
        components: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.home = home
        self._components = {**COMPONENTS, **components}
        self.logs = home / "logs"
        self.engine = create_engine(database)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps({USER: USER}))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of this test's alone, and long enough for HS512 not to complain",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "3",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "20",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            # How soon another triggerer takes over from one that died.
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
            **environment,
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions: set[int] = set()
        self._http = httpx.Client(base_url=self.url, timeout=30)

    def launch(self) -> None:
        """Migrate the database, start everything, and return once all is healthy."""
        self.logs.mkdir(exist_ok=True)
        self._run("migration", "db", "migrate").wait(timeout=240)
        for name in self._components:
            self.start(name)
        self.wait_for(self._healthy, "everything healthy", seconds=240)

    def start(self, name: str, *arguments: str) -> None:
        """Start a component; its arguments are those that it had before, unless others are given."""
        if arguments:
            self._components[name] = arguments
        self._running[name] = self._run(name, *self._components[name])

    def runs(self, name: str) -> bool:
        """Whether a component was started and not killed."""
        return name in self._running

    def kill(self, name: str) -> None:
        """Kill a component and the processes it started, as losing its machine would."""
        process = self._running.pop(name)
        # Some of them are in process groups of their own, and none may outlive the others for long.
        for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()

    def stop(self) -> list[psutil.Process]:
        """End what was started; return what was still there after that, and was killed one by one."""
        for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            for session in self._sessions:
                with suppress(ProcessLookupError):
                    os.killpg(session, number)
            psutil.wait_procs(self.processes(), timeout=patience)
        left = self.processes()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._http.close()
        self.engine.dispose()
        return left

    def processes(self) -> list[psutil.Process]:
        """Return all living processes that descend from those started: by session, or by Airflow's home."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                ours = os.getsid(process.pid) in self._sessions
                if ours or process.environ().get("AIRFLOW_HOME") == str(self.home):
                    found.append(process)
        for popen in self._running.values():
            popen.poll()
        return [process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    def wait_for(self, condition: Callable[[], T], what: str, seconds: float = 120) -> T:
        """Return ``condition()`` as soon as it is true; fail at the deadline, or when a component has ended."""
        deadline = time.monotonic() + seconds
        while not (answer := condition()):
            ended = [name for name, process in self._running.items() if process.poll() is not None]
            assert not ended, f"ended while waiting for {what}: {ended}"
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(0.2)
        return answer

    def rows(self, query: str, **parameters: Any) -> list[Any]:
        """Ask the metadata database: one statement, one snapshot."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(query), parameters))

    def tables(self) -> Iterator[tuple[str, str]]:
        """Yield each table's name, and all it holds as text."""
        for name in inspect(self.engine).get_table_names():
            yield name, "\n".join(str(tuple(row)) for row in self.rows(f'SELECT * FROM "{name}"'))

    def log_files(self) -> Iterator[tuple[str, str]]:
        """Yield each log file's name and text: those of components, tasks, triggers and the DAG processor."""
        for path in self.logs.rglob("*.log"):
            if path.is_file():
                yield str(path.relative_to(self.logs)), path.read_text(errors="replace")

    def tails(self) -> Iterator[tuple[str, str]]:
        """Yield the last lines of each component's log."""
        for path in sorted(self.logs.glob("*.log")):
            with path.open(errors="replace") as lines:
                yield path.stem, "".join(deque(lines, maxlen=40))

    def get(self, path: str, **parameters: Any) -> Any:
        """GET from the REST API, as JSON."""
        return self._ask("GET", path, params=parameters).json()

    def answers(self, path: str, **parameters: Any) -> str:
        """GET from the REST API, whatever the answer is."""
        return self._ask("GET", path, check=False, params=parameters).text

    def post(self, path: str, **body: Any) -> Any:
        """POST to the REST API, as JSON."""
        return self._ask("POST", path, json=body).json()

    def put(self, path: str, **body: Any) -> None:
        """PUT to the REST API, as JSON."""
        self._ask("PUT", path, json=body)

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run a DAG."""
        self.wait_for(lambda: self.rows("SELECT 1 FROM dag WHERE dag_id = :dag", dag=dag_id), dag_id)
        self._ask("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def run_dag(self, dag_id: str, **conf: Any) -> str:
        """Start a run, and return its id."""
        return self.post(f"/api/v2/dags/{dag_id}/dagRuns", logical_date=None, conf=conf)["dag_run_id"]

    def _ask(self, method: str, path: str, *, check: bool = True, **options: Any) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            answer = self._http.post("/auth/token", json={"username": USER, "password": USER})
            self._http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        answer = self._http.request(method, path, **options)
        return answer.raise_for_status() if check else answer

    def _healthy(self) -> bool:
        try:
            health = self.get("/api/v2/monitor/health")
        except httpx.HTTPError:
            return False
        expected = {"metadatabase"} | (HAVE_HEALTH & self._components.keys())
        return all((health.get(name) or {}).get("status") == "healthy" for name in expected)

    def _run(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._sessions.add(process.pid)
        return process


DEPLOYMENT = pytest.StashKey[Deployment]()


@contextmanager
def launched(deployment: Deployment, config: pytest.Config) -> Iterator[Deployment]:
    """Have it run, healthy; nothing of it is left in the end."""
    # So that being told to end still ends what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.stash[DEPLOYMENT] = deployment
    try:
        deployment.launch()
        yield deployment
    finally:
        left = deployment.stop()
    assert not left, f"still there after everything was ended: {left}"
    assert not deployment.processes()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show the ends of all logs with a failure, where a conftest imports this."""
    report = yield
    if report.failed and (deployment := item.config.stash.get(DEPLOYMENT, None)):
        report.sections += [(f"end of {name}.log", tail) for name, tail in deployment.tails()]
    return report
