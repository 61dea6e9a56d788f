"""The command line, ``python -m airflow_provider_healthimaging.local serve``: a HealthImaging for your DAGs.

It parses the options and prints the results. Other modules serve and load.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, get_args

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.core.exceptions import JsonRESTError
from moto.medicalimaging import settings
from moto.medicalimaging.datastore import seed_ids

from . import LocalServer, backend
from .connection import ACCESS_KEY, export_line
from .dicom import load_dicom, pydicom_sample_files
from .settings_endpoint import SETTINGS_PATH
from .untrusted_files import exists

if TYPE_CHECKING:
    from .moto_backend.medicalimaging.models import MedicalImagingBackend

# The same on each start, so that commands and connections from one run work in the next.
DATASTORE_ID = "local".ljust(32, "0")

# This always contains the last full hour, so that an hourly DAG finds image sets at once.
SAMPLE_DATA_PERIOD = timedelta(hours=2)

_READY_MESSAGE = """\
HealthImaging and S3 are ready at {url}, region {region}. Press Ctrl-C to stop.
Data store {datastore_id}: {image_sets} image sets

Airflow connection:
  {export}

AWS CLI (without the last variable, it adds "runtime-" to the host):
  export AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={key} AWS_DEFAULT_REGION={region}
  export AWS_ENDPOINT_URL={url} AWS_DISABLE_HOST_PREFIX_INJECTION=true
  aws medical-imaging search-image-sets --datastore-id {datastore_id}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Return 0 after an interrupt, and 2 for invalid arguments or an address that is not available."""
    options = _parser().parse_args(argv)
    # A shell that starts a command in the background may ignore SIGINT for it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return _serve(options)
    except KeyboardInterrupt:
        return 0


def _serve(options: argparse.Namespace) -> int:
    # The same ids of image sets on each start, and so the same pages.
    seed_ids(options.seed)
    try:
        state = _create_datastore(options)
    except (BotoCoreError, FileNotFoundError, ValueError) as error:
        return _report_error(error)
    try:
        server = LocalServer(options.host, options.port).start()
    except (OSError, OverflowError) as error:
        return _report_error(f"cannot listen on {options.host}:{options.port}: {error}")
    try:
        _create_buckets(server.url, options)
        state.settings.update({name: getattr(options, name) for name in settings.FIELDS})
        _load_files(state, options)
        ready = _READY_MESSAGE.format(
            url=server.url,
            region=options.region,
            datastore_id=options.datastore_id,
            image_sets=len(state.image_sets(options.datastore_id)),
            export=export_line(server.url, options.region),
            key=ACCESS_KEY,
        )
        print(ready, flush=True)
        Event().wait()
    except (BotoCoreError, ClientError, ValueError) as error:
        return _report_error(error)
    finally:
        server.stop()
    return 0  # pragma: no cover - only an interrupt ends the wait


def _report_error(reason: object) -> int:
    """Print the reason, and return the exit code."""
    print(f"error: {reason}", file=sys.stderr)
    return 2


def _create_datastore(options: argparse.Namespace) -> "MedicalImagingBackend":
    for path in options.dicom:
        if not exists(path):
            raise FileNotFoundError(f"--dicom {path} does not exist")
    try:
        state = backend(region=options.region)
        state.create_datastore(options.datastore_name, datastore_id=options.datastore_id)
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    except JsonRESTError as error:
        raise ValueError(error.message) from None
    return state


def _create_buckets(url: str, options: argparse.Namespace) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=url,
        region_name=options.region,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
        config=Config(proxies={}),
    )
    # S3 accepts every region as a location, except us-east-1.
    needs_location = options.region != "us-east-1"
    location: Any = {"CreateBucketConfiguration": {"LocationConstraint": options.region}} if needs_location else {}
    for name in options.bucket:
        s3.create_bucket(Bucket=name, **location)


def _load_files(state: "MedicalImagingBackend", options: argparse.Namespace) -> None:
    report = load_dicom(options.dicom, options.datastore_id, backend=state)
    for path, reason in report.skipped:
        name = str(path)
        print(f"skipped {name if name.isprintable() else ascii(name)}: {reason}", file=sys.stderr)
    if options.sample_data:
        # Some of pydicom's files are broken on purpose, so skipped files are not reported.
        files, now = pydicom_sample_files(), datetime.now(UTC)
        for number, file in enumerate(files, start=1):
            arrival = now - SAMPLE_DATA_PERIOD * (1 - number / len(files))
            load_dicom([file], options.datastore_id, backend=state, created_at=arrival)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_healthimaging.local",
        description="A local HealthImaging and S3, for development and tests.",
    )
    serve = parser.add_subparsers(required=True, metavar="command").add_parser(
        "serve",
        help="serve HealthImaging and S3 until interrupted",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    option = serve.add_argument
    option("--host", default="127.0.0.1", help="address to listen on")
    option("--port", type=int, default=5000, help="port to listen on; 0 for a free port")
    option("--region", default="us-east-1", help="region of the data store and the buckets")
    option("--datastore-id", default=DATASTORE_ID, help="id of the data store: 32 characters of 0-9a-z")
    option("--datastore-name", default="local", help="name of the data store")
    option(
        "--dicom",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="load these DICOM files and folders",
    )
    option(
        "--sample-data",
        action="store_true",
        help="load the DICOM files that come with pydicom, with creation times in the last two hours",
    )
    option("--bucket", nargs="+", action="extend", default=[], metavar="NAME", help="create S3 buckets")
    _add_settings(
        serve.add_argument_group(
            "behaviour and faults", f"You can change these settings at {SETTINGS_PATH} while the server runs."
        ).add_argument
    )
    return parser


def _add_settings(option: Callable[..., Any]) -> None:
    for name, setting in settings.FIELDS.items():
        kind: dict[str, Any] = {"type": _number_parser(name)}
        if settings.TYPES[name] is bool:
            kind = {"action": argparse.BooleanOptionalAction}
        elif choices := get_args(settings.TYPES[name]) if isinstance(setting.default, str) else ():
            kind = {"choices": choices}
        option("--" + name.replace("_", "-"), default=setting.default, help=setting.metadata["description"], **kind)


def _number_parser(name: str) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value: float = json.loads(text)
        except (ValueError, RecursionError):
            raise argparse.ArgumentTypeError("must be a number") from None
        try:
            settings.Settings().update({name: value})
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
