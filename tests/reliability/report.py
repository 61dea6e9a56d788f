"""``python -m tests.reliability.report FOLDER``: docs/reliability.md, out of what the suites have counted there.

It computes sums and verdicts, and knows no figure of its own.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from packaging.version import Version

Row = Mapping[str, Any]

HEAD = """\
# Reliability

Generated on {day} (UTC) from what the suites counted on {cores} cores ({machine}), {system}; `make reliability` runs
them. Every figure was counted by a test that fails where it is not what it should be; what was not counted is not here.

## Faults

Each case is drawn from a seed: up to 1,400 image sets on the edges of windows, beside them, in crowds at one instant
and anywhere in a day; windows that cover the day; the operator (to XCom or S3) or the sensor (in its slot or deferred);
one, four or eight readers; whether `BETWEEN` includes its edges, and whether bounds are cut to seconds. The service
then misbehaves as the row says. A search must end with exactly the right image sets, or with an error that says what
happened and that a retry puts right, which is then tried; a manifest in S3 must be of a whole dataset. `errors` are
those that a retry put right, `timeouts` sensors that gave up in time on what was not there. Lost, repeated and wrong
must be zero.
"""

PLACES = """\
## Places searched for patient data

Tasks, sensors and triggers ran with names, ids and dates planted in what they search for and what they find; they
succeeded, failed, retried, deferred and were mapped. All that Airflow keeps or shows was searched for them. In each
place something harmless that went the same way had to be found, since a place that cannot be read proves nothing.
`searched` is in bytes.
"""

CONDITIONS = """\
## Conditions, and what becomes of the task

Each row of the table in `airflow_provider_healthimaging/error_table.py` was provoked. The operator had to fail at once
or retry as it says, with the message that it says, and so had sensor and trigger, with one row of each kind.
"""

VERSIONS = """\
## Versions

The built wheel, installed as a user would, under the unit tests and those that run DAGs. What a version of Airflow does
not have is skipped, and each skip says what that is.
"""

COUNTS = ("cases", "searches", "errors", "timeouts", "lost", "repeated", "wrong")


def main(folder: str) -> None:
    """Print the document."""

    def rows(name: str) -> list[Row]:
        path = Path(folder, f"{name}.json")
        found: list[Row] = json.loads(path.read_text()) if path.exists() else []
        return sorted(found, key=lambda row: Version(row["airflow"]), reverse=True)

    print(
        HEAD.format(
            day=f"{datetime.now(UTC):%Y-%m-%d}",
            cores=os.cpu_count(),
            machine=platform.machine(),
            system=platform.system(),
        )
    )
    for (airflow, botocore), group in groupby(rows("faults"), key=lambda row: (row["airflow"], row["botocore"])):
        faults = list(group)
        together = {"fault": "**together**", **{each: sum(row[each] for row in faults) for each in COUNTS}}
        print(f"### Airflow {airflow}, botocore {botocore}\n")
        _table(("fault", *COUNTS), [*faults, together])
    print(PLACES)
    places = [*rows("patient_data"), *rows("patient_data_live")]
    shown = [{**row, "hits": len(row["hits"]), "control found": _yes(row["control_found"])} for row in places]
    _table(("place", "airflow", "items", "searched", "planted", "control found", "hits"), shown)
    print(CONDITIONS)
    _table(("airflow", "conditions", "rows", "checked", "retried", "wrong"), rows("errors"))
    print(VERSIONS)
    sessions = rows("matrix")
    print(f"Sessions run: {len(sessions)}; passed: {sum(not row['failed'] for row in sessions)}.\n")
    _table(("session", "airflow", "python", "botocore", "amazon", "passed", "failed", "skipped"), sessions)


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
