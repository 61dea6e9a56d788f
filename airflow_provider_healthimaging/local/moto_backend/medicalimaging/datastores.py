"""The operations on data stores. They are part of the backend, which ``models`` completes with image sets."""

from collections.abc import Callable
from datetime import datetime
from threading import RLock
from typing import TYPE_CHECKING

from moto.core.base_backend import BaseBackend

from .datastore import (
    CLIENT_TOKEN_PATTERN,
    ID_PATTERN,
    LOSSLESS_FORMATS,
    NAME_PATTERN,
    STATUSES,
    Datastore,
    new_id,
    require_match,
)
from .exceptions import AccessDeniedError, ConflictError, ResourceNotFoundError, ValidationError
from .paging import PageTokens, take_page
from .settings import Settings

if TYPE_CHECKING:
    from .import_jobs import ImportJobs


class DatastoreOperations(BaseBackend):
    """Creates, finds and deletes data stores. Thread-safe."""

    settings: Settings
    clock: Callable[[], datetime]
    """Returns the current time, aware. A test can replace it."""
    datastores: dict[str, Datastore]
    tokens: PageTokens
    lock: RLock
    import_jobs: "ImportJobs"

    def create_datastore(
        self,
        name: str | None = None,
        *,
        datastore_id: str | None = None,
        client_token: str | None = None,
        lossless_storage_format: str = "HTJ2K",
    ) -> Datastore:
        """Create a data store. It is ``ACTIVE`` at once. A second call with the same client token returns the same one.

        :param name: 1 to 256 characters of ``A-Za-z0-9._/#-``; default: the id.
        :param datastore_id: 32 characters of ``0-9a-z``; default: random, as it always is over HTTP.
        :param lossless_storage_format: ``HTJ2K`` or ``JPEG_2000_LOSSLESS``.
        """
        datastore_id = require_match(ID_PATTERN, new_id() if datastore_id is None else datastore_id, "datastoreId")
        if client_token is not None:
            require_match(CLIENT_TOKEN_PATTERN, client_token, "clientToken")
        if lossless_storage_format not in LOSSLESS_FORMATS:
            raise ValidationError(f"Value at 'losslessStorageFormat' must be one of {(*LOSSLESS_FORMATS,)}")
        if name is not None:
            require_match(NAME_PATTERN, name, "datastoreName")
        with self.lock:
            for known in self.datastores.values():
                if client_token is not None and known.client_token == client_token:
                    if name not in {None, known.name} or lossless_storage_format != known.lossless_storage_format:
                        raise ConflictError("clientToken was used with different parameters")
                    return known
            if datastore_id in self.datastores:
                raise ConflictError(f"Data store {datastore_id} already exists")
            now = self.clock()
            datastore = self.datastores[datastore_id] = Datastore(
                datastore_id,
                name or datastore_id,
                f"arn:{self.partition}:medical-imaging:{self.region_name}:{self.account_id}:datastore/{datastore_id}",
                created_at=now,
                updated_at=now,
                client_token=client_token,
                lossless_storage_format=lossless_storage_format,
            )
            return datastore

    def get_datastore(self, datastore_id: str) -> Datastore:
        """Return a data store. It may be a deleted one."""
        require_match(ID_PATTERN, datastore_id, "datastoreId")
        try:
            return self.datastores[datastore_id]
        except KeyError:
            if self.settings.unknown_datastore == "access-denied":
                raise AccessDeniedError("You do not have access to this data store") from None
            raise ResourceNotFoundError(f"Data store {datastore_id} was not found") from None

    def list_datastores(
        self, status: str | None, *, limit: int, next_token: str | None
    ) -> tuple[list[Datastore], str | None]:
        """Return one page, oldest first, and the token for the next page."""
        if status is not None and status not in STATUSES:
            raise ValidationError(f"Value {status!r} at 'datastoreStatus' must be one of {STATUSES}")
        scope = ("ListDatastores", status or "")
        after = self.tokens.read(next_token, *scope) if next_token is not None else ("", "")
        with self.lock:
            stores = sorted(self.datastores.values(), key=lambda d: d.position)
        rest = (d for d in stores if d.position > after and status in {None, d.status})
        page, more = take_page(rest, limit)
        return page, self.tokens.issue(page[-1].position, *scope) if more else None

    def delete_datastore(self, datastore_id: str) -> Datastore:
        """Mark a data store as ``DELETED``. Raise ``ConflictError`` if it has image sets or unfinished import jobs."""
        with self.lock:
            datastore = self.require_active(datastore_id)
            if self.import_jobs.unfinished(datastore_id):
                raise ConflictError("The data store has import jobs that have not ended")
            if len(datastore.image_sets):
                raise ConflictError("The data store is not empty")
            datastore.status, datastore.updated_at = "DELETED", self.clock()
            return datastore

    def require_active(self, datastore_id: str) -> Datastore:
        """Return a data store. Raise ``ResourceNotFoundError`` if it is deleted."""
        datastore = self.get_datastore(datastore_id)
        if datastore.status != "ACTIVE":
            raise ResourceNotFoundError(f"Data store {datastore_id} was not found")
        return datastore
