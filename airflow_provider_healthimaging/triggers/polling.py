"""What polling triggers share: their arguments, one client for each connection, threads for its calls, and jitter.

Botocore's calls block, so they run in threads beside the triggerer's event loop. The service's quota of 25 calls a
second is far below what these threads carry.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.triggers.base import BaseTrigger

from airflow_provider_healthimaging.aws.connection_arguments import (
    ConfigArguments,
    check_config_arguments,
    check_conn_id,
    check_region_name,
    check_verify,
)
from airflow_provider_healthimaging.exceptions import ConnectionFailedError
from airflow_provider_healthimaging.privacy.encryption import is_sealed, seal, unseal
from airflow_provider_healthimaging.search.criteria import parse_criteria
from airflow_provider_healthimaging.search.match import parse_match
from airflow_provider_healthimaging.search.request import SearchRequest
from airflow_provider_healthimaging.search.validation import (
    check_datastore_id,
    check_time_field,
    parse_interval,
    to_json,
)

if TYPE_CHECKING:
    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
    from airflow_provider_healthimaging.search.image_set import SearchHit
    from airflow_provider_healthimaging.search.pages import ScanStats
    from airflow_provider_healthimaging.window import TimeWindow

T = TypeVar("T")

MAX_POLLS = 32
"""How many polls may run at a time in a process. An endpoint that does not respond keeps one of them for minutes."""

CLIENT_LIFETIME_SECONDS = 900
"""After this time a new client is made, so that a changed connection is seen."""

LONGEST_WAIT_FOR_CLIENT = 10.0
"""How long a poll waits in seconds while another makes the client of their connection."""

_threads = ThreadPoolExecutor(MAX_POLLS, thread_name_prefix="healthimaging-poll")
_hook_locks: defaultdict[str, Lock] = defaultdict(Lock)
_hook_cache: dict[str, tuple[float, HealthImagingHook]] = {}


class PollingTrigger(BaseTrigger):
    """A trigger that asks the service again and again. Each argument is a public attribute.

    :param poke_interval: the pause between two polls: ``timedelta`` or seconds.
    """

    shown_arguments: ClassVar[tuple[str, ...]] = ()
    """The arguments that ``repr`` shows; Airflow's own shows all of them."""

    def __init__(
        self,
        *,
        datastore_id: str,
        poke_interval: timedelta | float,
        aws_conn_id: str | None,
        region_name: str | None,
        verify: bool | str | None,
        botocore_config: ConfigArguments | None,
    ) -> None:
        """Check the arguments; nothing is called before ``run``."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.datastore_id = check_datastore_id(datastore_id)
        self.poke_interval = parse_interval("poke_interval", poke_interval).total_seconds()
        self.aws_conn_id = check_conn_id("aws_conn_id", aws_conn_id)
        self.region_name = check_region_name(region_name)
        self.verify = check_verify(verify)
        self.botocore_config = check_config_arguments(botocore_config, json_only=True)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, encrypted if they may be patient data."""
        path = f"airflow_provider_healthimaging.triggers.healthimaging.{type(self).__name__}"
        return path, {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        """Show arguments that are not patient data."""
        shown = ", ".join(f"{name}={getattr(self, name)}" for name in self.shown_arguments)
        return f"<{type(self).__name__} {shown}>"

    def cached_hook(self) -> HealthImagingHook:
        """Return the hook that all triggers of this process with the same connection share; this may block."""
        return get_cached_hook(self.datastore_id, **self._hook_arguments())

    def feed_key(self, what: str) -> Hashable:
        """Return what triggers have in common that can share a feed of ``what``."""
        return what, self.datastore_id, json.dumps(self._hook_arguments(), sort_keys=True)

    def _hook_arguments(self) -> dict[str, Any]:
        return {
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "config": self.botocore_config,
        }


class SearchTrigger(PollingTrigger):
    """A trigger that searches. ``search_criteria`` and ``match`` are encrypted.

    :param search_criteria: AWS's ``searchCriteria``, or its JSON text, or encrypted as :meth:`serialize` returns it.
    :param match: the same.
    """

    def __init__(
        self,
        *,
        time_field: str | None,
        search_criteria: Mapping[str, object] | str | None,
        match: Mapping[str, object] | str | None,
        **kwargs: Any,
    ) -> None:
        """Check the arguments, and encrypt what may be patient data."""
        super().__init__(**kwargs)
        self.time_field = check_time_field(time_field)
        self.search_criteria = seal(_to_json(search_criteria, parse_criteria))
        self.match = seal(_to_json(match, parse_match))

    def search(self, window: TimeWindow | None, stats: ScanStats | None = None) -> Iterator[SearchHit]:
        """Run the search in ``window``, through the hook; this blocks.

        :param stats: updated while reading.
        """
        return self.cached_hook().search(self._request.with_window(window), stats=stats)

    @cached_property
    def _request(self) -> SearchRequest:
        return SearchRequest.parse(
            self.datastore_id,
            time_field=self.time_field,
            search_criteria=unseal(self.search_criteria),
            match=unseal(self.match),
        )


def _to_json(value: object, parse: Callable[[object], object]) -> str:
    """Return an argument as JSON text. What is encrypted was checked before, and stays as it is."""
    return str(value) if is_sealed(value) else to_json(parse(value))


async def run_blocking(call: Callable[[], T]) -> T:
    """Run a blocking call in a thread, and await its result."""
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


def get_cached_hook(datastore_id: str, **hook_arguments: Any) -> HealthImagingHook:
    """Return the hook that all triggers of this process with the same arguments share; its client is made.

    :param datastore_id: for the error message if the client cannot be made.
    :raises HealthImagingError: if the client cannot be made.
    """
    key = json.dumps(hook_arguments, sort_keys=True)
    # A lock for each connection, and not for long: STS may take minutes to refuse one, and all share the threads.
    if not _hook_locks[key].acquire(timeout=LONGEST_WAIT_FOR_CLIENT):
        raise ConnectionFailedError(
            f"The client of the connection {hook_arguments['aws_conn_id']!r} is not made yet: another poll has been "
            f"making it for over {LONGEST_WAIT_FOR_CLIENT:.0f} s. This poll is made again later."
        )
    try:
        made, hook = _hook_cache.get(key, (0.0, None))
        if hook is None or time.monotonic() - made > CLIENT_LIFETIME_SECONDS:
            # It replaces the old one, because a client takes 7 MB, and 26,000 objects for the garbage collector.
            hook = _build_hook(datastore_id, hook_arguments)
            _hook_cache[key] = time.monotonic(), hook
        return hook
    finally:
        _hook_locks[key].release()


def _build_hook(datastore_id: str, arguments: dict[str, Any]) -> HealthImagingHook:
    # These imports take two seconds. At the top of the module they would block the triggerer's event loop.
    from airflow_provider_healthimaging.aws.client_config import POLLING_CLIENT_CONFIG
    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook

    hook = HealthImagingHook(**arguments, client_defaults=POLLING_CLIENT_CONFIG)
    hook.client_for(datastore_id)
    return hook


def with_jitter(seconds: float) -> float:
    """Return ``seconds`` plus or minus up to a fifth, so that many triggers do not poll at the same moment."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret


def initial_delay(seconds: float) -> float:
    """Return a random time up to ``seconds``, so that triggers that start together do not poll together."""
    return random.uniform(0, seconds)  # noqa: S311 - not a secret
