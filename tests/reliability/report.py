"""Prints docs/reliability.md from the counts of the suites: ``python -m tests.reliability.report FOLDER``.

The suites left their counts in the folder. Only sums are computed here.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from packaging.version import Version

Row = Mapping[str, Any]

HEAD = """\
# Reliability

`make reliability` runs the test suites that counted these figures, and writes this page. A suite can be run again by
itself; each table says when (UTC) its suite ran last. Every figure comes from a test that fails if the figure is wrong.
This page shows counted figures only. It was written on {cores} cores ({machine}), {system}.

## Faults

Each case is drawn from a seed:

- up to 1,400 image sets: on the edges of windows, just beside the edges, many at the same instant, and anywhere in a
  day
- windows that together cover the day
- the operator, with its result in XCom or S3, or the sensor, in its slot or deferred
- one, four or eight workers
- `BETWEEN` that includes its edges or not, and bounds that are cut to whole seconds or not

The service then misbehaves as the first column of the table says. A search must end in one of two ways: with exactly
the right image sets, or with an error that says what happened. After an error, a retry is made, and must succeed. If a
manifest exists in S3, its dataset must be complete. `errors` counts the errors after which a retry succeeded.
`timeouts` counts the sensors that timed out as they should, because the image sets were not there. `lost`, `repeated`
and `wrong` must be zero.
"""

PLACES = """\
## Places searched for patient data

Tasks, sensors and triggers ran with marked names, ids and dates in their search values and in the DICOM tags. They
succeeded, failed, were retried, deferred and mapped. Then everything that Airflow stores or shows was searched for
the marked values. `hits` counts the values that were found. `control found` says whether a harmless text that was
passed in the same way was found in the place. If it was not found, the place could not be read, and the test fails.
`searched` is in bytes.
"""

CONDITIONS = """\
## Error conditions, and what the task does

The tables in `airflow_provider_healthimaging/aws/error_table.py` and `botocore_error_table.py` beside it say which
error fails a task at once, and which error is retried. Every rule was provoked. The operator had to fail at once or
to be retried as the rule says, with the message of the rule. Sensor and trigger had to do the same, with one rule of
each kind. `rows` counts the conditions in the test's table.
"""

VERSIONS = """\
## Versions

The built wheel was installed in the way a user installs it. Then the unit tests and the tests that run DAGs were run.
A test is skipped if the version of Airflow does not have what it tests. The reason of each skip says what that is.
"""

COUNTS = ("cases", "searches", "errors", "timeouts", "lost", "repeated", "wrong")


def main(folder: str) -> None:
    """Print the document."""

    def rows(name: str) -> list[Row]:
        path = Path(folder, f"{name}.json")
        found: list[Row] = json.loads(path.read_text()) if path.exists() else []
        return sorted(found, key=lambda row: Version(row["airflow"]), reverse=True)

    print(HEAD.format(cores=os.cpu_count(), machine=platform.machine(), system=platform.system()))
    for name, title in (("soak", "New cases (`make soak`)"), ("faults", "Cases that are always the same")):
        print(f"### {title}\n")
        for (airflow, botocore), group in groupby(rows(name), key=lambda row: (row["airflow"], row["botocore"])):
            _faults(f"Airflow {airflow}, botocore {botocore}", list(group))
    print(PLACES)
    places = [*rows("patient_data"), *rows("patient_data_live")]
    shown = [{**row, "hits": len(row["hits"]), "control found": _yes(row["control_found"])} for row in places]
    _table(("place", "airflow", "day", "items", "searched", "planted", "control found", "hits"), shown)
    print(CONDITIONS)
    _table(("airflow", "day", "conditions", "rows", "checked", "retried", "wrong"), rows("errors"))
    print(VERSIONS)
    sessions = rows("matrix")
    print(f"Sessions run: {len(sessions)}; passed: {sum(not row['failed'] for row in sessions)}.\n")
    _table(("session", "day", "airflow", "python", "botocore", "amazon", "passed", "failed", "skipped"), sessions)


def _faults(versions: str, counted: list[Row]) -> None:
    """Print the sums of each fault, and of all."""
    sums: dict[str, Counter[str]] = {}
    for row in counted:
        for fault in (row["fault"], "**total**"):
            sums.setdefault(fault, Counter()).update({each: row[each] for each in COUNTS})
    sums["**total**"] = sums.pop("**total**")
    print(f"{versions}, {' and '.join(sorted({row['day'] for row in counted}))}:\n")
    _table(("fault", *COUNTS), [{"fault": fault, **sums[fault]} for fault in sums])


def _table(columns: Iterable[str], rows: Iterable[Row]) -> None:
    names = list(columns)
    print(f"| {' | '.join(names)} |")
    print("|---" * len(names) + "|")
    for row in rows:
        print(f"| {' | '.join(f'{row[name]:,}' if isinstance(row[name], int) else str(row[name]) for name in names)} |")
    print()


def _yes(truth: object) -> str:
    return "yes" if truth else "no"


if __name__ == "__main__":
    main(*sys.argv[1:])
