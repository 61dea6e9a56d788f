"""Starts one import job for one task of a run, however often the task is tried.

The client token is made from the task and the request, so a second call finds the job of the first: after a worker
died, and after a task was cleared. A job that ended badly is left behind by the generation, which is part of the token.
An attempt asks for the job of each generation in turn, and takes the first that has not ended badly. There was at most
one job for each earlier attempt, so the number of the attempt says how far to ask. docs/adr/0005 says why nothing is
remembered elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.imports.request import derived_client_token

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
    from airflow_provider_healthimaging.imports.request import ImportRequest
    from airflow_provider_healthimaging.search.pages import Log


def find_or_start(
    hook: HealthImagingHook,
    request: ImportRequest,
    context: Context,
    *,
    ended_badly: Callable[[str], bool],
    log: Log,
) -> str:
    """Return the id of the task's job, which is started unless there is one.

    :param request: what to import. A client token that it has is used as it is.
    :param ended_badly: whether the job with this id ended in a way for which a retry starts another one.
    """
    if request.client_token is not None:
        return hook.start_import(request)["jobId"]
    ti: Any = context["ti"]
    last = max(ti.try_number, 1) - 1
    for generation in range(last):
        job_id = hook.start_import(_with_token(request, ti, generation))["jobId"]
        if not ended_badly(job_id):
            return job_id
        log.info("Import job %s of an earlier attempt ended badly, so another one is started.", job_id)
    return hook.start_import(_with_token(request, ti, last))["jobId"]


def _with_token(request: ImportRequest, ti: Any, generation: int) -> ImportRequest:
    token = derived_client_token(
        request,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index,
        generation=generation,
    )
    return request.with_token(token)
