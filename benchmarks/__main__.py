"""Runs the benchmarks, prints their tables, and writes ``docs/benchmarks.md``. See ``--help``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from rich.console import Console

from benchmarks.report import Table, document
from benchmarks.service import ENVIRONMENT, Service

SECTIONS = ("quota", "throttling", "shared_quota", "readers", "calls", "cpu", "imports", "killed", "export", "memory")
"""Modules with ``tables(service, repeat)``. Memory is last, because its million image sets stay in the server."""

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def main() -> int:
    """Run the requested sections. Return 1 if one of them failed. The document names those that failed, too."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    option = parser.add_argument
    option(
        "--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"run these sections only: {', '.join(SECTIONS)}"
    )
    option("--repeat", type=int, default=3, help="number of runs for each median")
    option("--output", type=Path, help="file to write; default docs/benchmarks.md, and none with --only")
    options = parser.parse_args()
    console, tables, failed, started = Console(), [], [], time.perf_counter()
    with tempfile.TemporaryDirectory() as home, Service() as service:
        os.environ |= {**ENVIRONMENT, "AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        for section in options.only or SECTIONS:
            console.print(f"{section} ...", style="bold")
            try:
                done: list[Table] = list(
                    importlib.import_module(f"benchmarks.{section}").tables(service, options.repeat)
                )
            except Exception:  # noqa: BLE001 - the other sections still run
                traceback.print_exc()
                failed.append(section)
                continue
            for table in done:
                table.show(console)
            tables += done
    minutes = (time.perf_counter() - started) / 60
    console.print(f"{minutes:.1f} minutes")
    output = options.output or (None if options.only else DOCUMENT)
    if output:
        output.write_text(document(tables, failed, options.repeat, minutes))
        console.print(f"written to {output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
