"""Measures the import of the operator, compares it with a module of amazon's provider, and lists heavy imports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.report import Bar, Table
from benchmarks.service import Service

OURS = "airflow_provider_healthimaging.operators.healthimaging"
THEIRS = "airflow.providers.amazon.aws.sensors.s3"
HEAVY = ("pyarrow", "moto", "pydicom")
INTERPRETERS = 11

_IMPORT = """
import importlib, json, sys, time
seconds = []
for name in sys.argv[1].split():
    started = time.process_time()
    importlib.import_module(name)
    seconds.append(time.process_time() - started)
print(json.dumps({"seconds": seconds, "modules": list(sys.modules)}))
"""


def tables(_service: Service, _repeat: int) -> Iterator[Table]:
    """Import each module in fresh interpreters, alternately."""
    alone, theirs, after, modules = [], [], [], set()
    _imported(OURS)
    for _ in range(INTERPRETERS):
        result = _imported(OURS)
        alone += result["seconds"]
        modules.update(result["modules"])
        theirs += _imported(THEIRS)["seconds"]
        before, added = _imported(f"{THEIRS} {OURS}")["seconds"]
        after.append(100 * added / before)
    dragged = [name for name in HEAVY if name in modules]
    table = Table(
        "Imports",
        "Seconds of CPU to import the operator's module. For comparison, the module of amazon's `S3KeySensor` is "
        f"imported instead of boto3. Both are medians of {INTERPRETERS} fresh interpreters, in alternation. The "
        f"second row imports the sensor's module first, and then the operator's, in one interpreter. Of "
        f"{', '.join(HEAVY)}, the import of the operator loads {', '.join(dragged) or 'none'}.",
        ("figure", "target", "ours", "S3KeySensor", "ratio", "met"),
    )
    table.promise(
        "in a fresh interpreter", median(alone), median(theirs), Bar(at_most=1.05, of="ratio"), unit=" s", digits=2
    )
    added = median(after)
    table.promise("added after S3KeySensor", added, None, Bar(at_most=5, unit=" %"), judged=added, unit=" %")
    table.promise("heavy modules imported", len(dragged), None, Bar(at_most=0), judged=len(dragged), digits=0)
    yield table


def _imported(names: str) -> Any:
    done = subprocess.run([sys.executable, "-c", _IMPORT, names], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
