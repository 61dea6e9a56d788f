"""What polling triggers share: one client for each connection, threads to call it in, and pauses that differ.

Botocore's calls block, so they run in threads beside the triggerer's event loop. The service's quota of 25 calls a
second is far below what a handful of threads carries.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import TriggerEvent

from airflow_provider_healthimaging.search.image_set import Summary
from airflow_provider_healthimaging.privacy.encryption import unseal
from airflow_provider_healthimaging.window import TimeWindow

if TYPE_CHECKING:
    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook

T = TypeVar("T")

THREADS = 32
"""How many looks may be under way in a process: an endpoint that does not answer keeps one for minutes."""

CLIENT_LIFETIME = 900
"""Seconds after which a new client is made, so that a changed connection is seen."""

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="healthimaging-poll")
_making = Lock()
_hooks: dict[str, tuple[float, HealthImagingHook]] = {}


async def in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call without blocking the event loop."""
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


def shared_hook(datastore_id: str, **hook_parameters: Any) -> HealthImagingHook:
    """Return the hook, its client made, that all triggers of this process with the same parameters use.

    :param datastore_id: what it is wanted for, in an error's message.
    :raises HealthImagingError: where the client cannot be made.
    """
    key = json.dumps(hook_parameters, sort_keys=True)
    with _making:
        made, hook = _hooks.get(key, (0.0, None))
        if hook is None or time.monotonic() - made > CLIENT_LIFETIME:
            # In place of the old one: a client is seven megabytes, and 26,000 objects to collect garbage among.
            hook = _ready_hook(datastore_id, hook_parameters)
            _hooks[key] = time.monotonic(), hook
        return hook


def _ready_hook(datastore_id: str, parameters: dict[str, Any]) -> HealthImagingHook:
    # Two seconds of imports, which the triggerer's event loop would wait for were they at the top.
    from airflow_provider_healthimaging.aws.client_config import IMPATIENT
    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook

    hook = HealthImagingHook(**parameters)
    hook.client_defaults = IMPATIENT
    hook.client_for(datastore_id)
    return hook


def jittered(seconds: float) -> float:
    """Return ``seconds`` more or less a fifth, so that many triggers do not strike together."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


def somewhen(seconds: float) -> float:
    """Return some time from now to ``seconds``, so that triggers which start together part."""
    return random.uniform(0, seconds)  # noqa: S311 - no secret


def fired(payload: dict[str, Any]) -> TriggerEvent:
    """Make the event that carries ``payload``."""
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]


def search(given: dict[str, Any], window: TimeWindow | None) -> Iterator[Summary]:
    """Search as a trigger's arguments say, by the hook's one way."""
    hook = shared_hook(
        given["datastore_id"],
        aws_conn_id=given["aws_conn_id"],
        region_name=given["region_name"],
        verify=given["verify"],
        config=given["botocore_config"],
    )
    return hook.search_image_sets(
        given["datastore_id"],
        window=window,
        time_field=given["time_field"],
        search_criteria=unseal(given["search_criteria"]),
        match=unseal(given["match"]),
    )


def shown(trigger: object, given: dict[str, Any], *names: str) -> str:
    """Return a trigger's ``repr`` with the arguments named; Airflow's own shows all."""
    return f"<{type(trigger).__name__} {', '.join(f'{name}={given[name]}' for name in names)}>"


def class_path(trigger: object) -> str:
    """Return where Airflow finds the trigger's class again."""
    return f"airflow_provider_healthimaging.triggers.healthimaging.{type(trigger).__name__}"
