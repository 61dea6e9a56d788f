"""Airflow itself: a metadata database for the session, and DAGs that run in it as a scheduler would run them."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import airflow
import pytest
from packaging.version import Version

AIRFLOW = Version(Version(airflow.__version__).base_version)


@dataclass(frozen=True)
class Run:
    """A DAG run that has ended, as the metadata database had it then."""

    dag_id: str
    run_id: str
    when: datetime | None
    state: str
    task_instances: Mapping[tuple[str, int], Any]
    xcoms: Mapping[tuple[str, int, str], Any]

    def task(self, task_id: str, map_index: int = -1) -> Any:
        """Return a task instance."""
        return self.task_instances[task_id, map_index]

    def states(self, task_id: str) -> list[str]:
        """Return a task's state, or those of all that it was mapped to."""
        return [str(ti.state) for (name, _), ti in sorted(self.task_instances.items()) if name == task_id]

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return what a task pushed; ``None`` where there is nothing."""
        return self.xcoms.get((task_id, map_index, key))


class Failures(list[BaseException]):
    """What tasks failed with, if given ``**failures.callbacks``; ``retried`` has what made Airflow try again."""

    def __init__(self) -> None:
        super().__init__()
        self.retried: list[BaseException] = []
        self.callbacks = {
            "on_failure_callback": lambda context: self.append(context["exception"]),
            "on_retry_callback": lambda context: self.retried.append(context["exception"]),
        }


@pytest.fixture
def failures() -> Failures:
    """Collects the errors of the tasks that are given ``**failures.callbacks``."""
    return Failures()


@pytest.fixture(scope="session")
def metadata_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's tables, in the home that the session has for itself; returns a copy of them without a row of a test."""
    from airflow.utils.db import initdb

    initdb()
    copy = tmp_path_factory.mktemp("metadata_db") / "airflow.db"
    with closing(sqlite3.connect(Path(os.environ["AIRFLOW_HOME"], "airflow.db"))) as database:
        database.execute("VACUUM INTO ?", [str(copy)])
    with closing(sqlite3.connect(copy)) as database, database:
        # Airflow 2 adds examples of connections.
        database.execute("DELETE FROM connection")
    return copy


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Holds a DAG open while tasks are made, until it runs: Airflow 3.0 reads a DAG for its run into the open one."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def run_dag(metadata_db, monkeypatch, opened) -> Callable[..., Run]:
    """``run_dag(dag, when, conf=None)`` runs a DAG at a logical date until every task has ended.

    The run is a manual one, as ``dag.test()`` makes it. Keyword arguments put attributes of the run in place of
    its own before the first task starts: ``run_type``, ``data_interval_start``, ``partition_key``, ...
    """

    def run(dag: Any, when: datetime | None, conf: dict[str, Any] | None = None, **attributes: Any) -> Run:
        def make(create: Callable[[], Any], session: Any, scheduler_dag: Any) -> Any:
            dag_run = create()
            for name, value in attributes.items():
                setattr(dag_run, name, value)
            return dag_run

        opened.close()
        return _test(dag, when, conf, make, monkeypatch)

    return run


@pytest.fixture
def run_scheduled(run_dag) -> Callable[..., Iterator[Run]]:
    """``run_scheduled(dag, after=..., until=...)`` runs what the scheduler would start in ``(after, until]``."""

    def run(dag: Any, *, after: datetime, until: datetime) -> Iterator[Run]:
        for info in _scheduled(dag, until):
            if info.run_after > after:
                yield run_dag(dag, info.logical_date, run_type="scheduled", **_attributes(info))

    return run


@pytest.fixture
def clear_and_run(metadata_db, monkeypatch) -> Callable[[Any, Run], Run]:
    """``clear_and_run(dag, run)`` clears a run's tasks and runs them again, the run itself as it was."""
    from airflow.models.dagrun import DagRun

    def run(dag: Any, done: Run) -> Run:
        def make(create: Callable[[], Any], session: Any, scheduler_dag: Any) -> Any:
            dag_run = session.query(DagRun).filter_by(dag_id=done.dag_id, run_id=done.run_id).one()
            dag_run.state = "running"
            dag_run.dag = scheduler_dag
            return dag_run

        return _test(dag, done.when, None, make, monkeypatch)

    return run


@pytest.fixture
def asset_events(metadata_db) -> Callable[[Any], list[Any]]:
    """``asset_events(dag)`` returns the events that a DAG's runs made, first to last."""
    try:
        from airflow.models.asset import AssetEvent
    except ImportError:
        from airflow.models.dataset import DatasetEvent as AssetEvent

    return lambda dag: sorted(_rows(AssetEvent, source_dag_id=dag.dag_id), key=lambda event: event.timestamp)


@pytest.fixture
def register(metadata_db) -> Callable[[Any], None]:
    """``register(dag)`` writes a DAG to the metadata database without running it."""
    return _register


@pytest.fixture
def dag_bag(metadata_db) -> Callable[[Path], Any]:
    """``dag_bag(path)`` parses a file as Airflow does, and returns its ``dags`` and ``import_errors``."""
    return lambda path: _dagbag_module().DagBag(path)


@pytest.fixture
def parse(dag_bag) -> Callable[[Path], Mapping[str, Any]]:
    """``parse(path)`` returns the DAGs in a file, by id."""

    def parsed(path: Path) -> Mapping[str, Any]:
        bag = dag_bag(path)
        assert bag.import_errors == {}
        return bag.dags

    return parsed


def _test(dag: Any, when: datetime | None, conf: Any, make: Callable[..., Any], monkeypatch: Any) -> Run:
    """Let ``dag.test()`` run what ``make`` makes, which is given the function by which it would make its own."""
    from airflow.models import dag as models_dag
    from airflow.models import dagrun as models_dagrun

    module, name = next(
        (module, name)
        for module, name in ((models_dagrun, "get_or_create_dagrun"), (models_dag, "_get_or_create_dagrun"))
        if hasattr(module, name)
    )
    create = getattr(module, name)

    def made(*, session: Any, dag: Any, **kwargs: Any) -> Any:
        dag_run = make(lambda: create(session=session, dag=dag, **kwargs), session, dag)
        session.commit()
        return dag_run

    # Airflow 2 adds a handler once, for what standard output was then.
    log = logging.getLogger("airflow.task")
    log.handlers = [handler for handler in log.handlers if type(handler) is not logging.StreamHandler]
    _register(dag)
    date = "logical_date" if Version("3") <= AIRFLOW else "execution_date"
    with monkeypatch.context() as patch:
        patch.setattr(module, name, made)
        _as_in_a_worker(patch)
        ended = dag.test(**{date: when}, run_conf=conf)
    return _read(dag.dag_id, ended.run_id, getattr(ended, date), str(ended.state))


def _as_in_a_worker(patch: Any) -> None:
    """Let ``dag.test()`` do what workers do: before Airflow 3.3 it does not tell callbacks the error.

    And in 3.0, the time of the first reschedule, which goes to workers as JSON and becomes a time, stays text. What
    answers a task's requests is made once, as from 3.3 on: to make it for each task takes seconds.
    """
    if not Version("3") <= AIRFLOW < Version("3.3"):
        return
    from airflow.sdk.execution_time import supervisor, task_runner

    patch.setattr(supervisor, "in_process_api_server", partial(_made_once, supervisor.in_process_api_server))

    finalize = task_runner.finalize

    def finalized(ti: Any, state: Any, context: Any, log: Any, error: BaseException | None = None) -> None:
        context["exception"] = error
        finalize(ti, state, context, log, error)

    patch.setattr(task_runner, "finalize", finalized)
    first_reschedule_date = task_runner.RuntimeTaskInstance.get_first_reschedule_date

    def as_time(ti: Any, context: Any) -> datetime | None:
        date: Any = first_reschedule_date(ti, context)
        return datetime.fromisoformat(date) if isinstance(date, str) else date

    patch.setattr(task_runner.RuntimeTaskInstance, "get_first_reschedule_date", as_time)


@cache
def _made_once(make: Callable[[], Any]) -> Any:
    return make()


def _read(dag_id: str, run_id: str, when: datetime | None, state: str) -> Run:
    from airflow.models import xcom
    from airflow.models.taskinstance import TaskInstance

    # Airflow 2 decodes a value when it loads the row.
    model, value = (
        (xcom.XComModel, xcom.XComModel.deserialize_value)
        if hasattr(xcom, "XComModel")
        else (xcom.XCom, attrgetter("value"))
    )
    mine = {"dag_id": dag_id, "run_id": run_id}
    return Run(
        dag_id,
        run_id,
        when,
        state,
        {(ti.task_id, ti.map_index): ti for ti in _rows(TaskInstance, **mine)},
        {(row.task_id, row.map_index, row.key): value(row) for row in _rows(model, **mine)},
    )


def _register(dag: Any) -> None:
    """Write a DAG to the metadata database, as the DAG processor does with what it finds in files."""
    if Version("3") > AIRFLOW:
        from airflow.models.serialized_dag import SerializedDagModel

        dag.sync_to_db()
        SerializedDagModel.write_dag(dag)
        return
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()
    # Airflow 3.0 asks for what the DAG processor knows of a file in a bundle.
    dag.relative_fileloc = dag.relative_fileloc or Path(dag.fileloc).name
    module = _dagbag_module()
    bag = module.DagBag(os.devnull)
    bag.bag_dag(dag)
    if hasattr(module, "sync_bag_to_db"):
        module.sync_bag_to_db(bag, "dags-folder", None)
    else:
        bag.sync_to_db("dags-folder", None)


def _dagbag_module() -> Any:
    try:
        from airflow.dag_processing import dagbag
    except ImportError:
        from airflow.models import dagbag
    return dagbag


def _scheduled(dag: Any, until: datetime) -> Iterator[Any]:
    """Yield what the DAG's timetable tells the scheduler of each run, from the DAG's start date on."""
    import pendulum
    from airflow.timetables.base import TimeRestriction

    timetable = dag.timetable
    if Version("3.2") <= AIRFLOW:
        from airflow.serialization.encoders import coerce_to_core_timetable

        timetable = coerce_to_core_timetable(timetable)
    restriction = TimeRestriction(pendulum.instance(dag.start_date), latest=None, catchup=True)
    info = None
    while True:
        if Version("3.2") <= AIRFLOW:
            info = timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)
        else:
            interval = info.data_interval if info else None
            info = timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=restriction)
        if info is None or info.run_after > until:
            return
        yield info


def _attributes(info: Any) -> dict[str, Any]:
    """Return what the scheduler writes into a run, beside its dates."""
    if info.data_interval:
        return {"data_interval_start": info.data_interval.start, "data_interval_end": info.data_interval.end}
    partition = {"partition_key": info.partition_key}
    # Airflow 3.2 tells a run the key only.
    return partition if Version("3.3") > AIRFLOW else {**partition, "partition_date": info.partition_date}


def _rows(model: Any, **where: Any) -> list[Any]:
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(model).filter_by(**where).all()
        session.expunge_all()
    return rows
