"""The backend: data stores and their operations, for requests and for tests that create image sets.

The methods accept and return Python values. ``responses`` converts them from requests and to JSON. Errors are those of
the service (see ``exceptions``). Arguments that no request can contain, such as a naive datetime, raise ``ValueError``
or ``TypeError``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from threading import RLock
from time import monotonic

from moto.core.base_backend import BackendDict, BaseBackend

from .datastore import CLIENT_TOKEN_PATTERN, ID_PATTERN, NAME_PATTERN, STATUSES, Datastore, new_id, require_match
from .exceptions import AccessDeniedError, ConflictError, ResourceNotFoundError, ThrottlingError, ValidationError
from .faults import NO_FAULT, FaultInjector, FaultPlan
from .image_sets import ImageSet, Instance, TagValue, by_uid
from .import_jobs import ImportJobs
from .paging import START_POSITION, PageTokens, invalid_token, take_page
from .quota import TokenBucket
from .search import Query
from .settings import Settings

REGIONS = ("us-east-1", "us-west-2", "ap-southeast-2", "eu-west-1", "eu-west-2")


class MedicalImagingBackend(BaseBackend):
    """HealthImaging in one account and region. Thread-safe."""

    def __init__(self, region_name: str, account_id: str) -> None:
        """Create an empty backend. moto calls this again for a reset."""
        super().__init__(region_name, account_id)
        self.settings = Settings()
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        """Returns the current time, aware. A test can replace it."""
        self.datastores: dict[str, Datastore] = {}
        self.fault_injector = FaultInjector()
        self._quota = TokenBucket()
        self.tokens = PageTokens()
        self.lock = RLock()
        self.import_jobs = ImportJobs(self)

    def create_datastore(
        self, name: str | None = None, *, datastore_id: str | None = None, client_token: str | None = None
    ) -> Datastore:
        """Create a data store. It is ``ACTIVE`` at once. A second call with the same client token returns the same one.

        :param name: 1 to 256 characters of ``A-Za-z0-9._/#-``; default: the id.
        :param datastore_id: 32 characters of ``0-9a-z``; default: random, as it always is over HTTP.
        """
        datastore_id = require_match(ID_PATTERN, new_id() if datastore_id is None else datastore_id, "datastoreId")
        if client_token is not None:
            require_match(CLIENT_TOKEN_PATTERN, client_token, "clientToken")
        if name is not None:
            require_match(NAME_PATTERN, name, "datastoreName")
        with self.lock:
            for known in self.datastores.values():
                if client_token is not None and known.client_token == client_token:
                    if name not in {None, known.name}:
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
        unfinished = self.import_jobs.unfinished(datastore_id)
        with self.lock:
            datastore = self.require_active(datastore_id)
            if unfinished:
                raise ConflictError("The data store has import jobs that have not ended")
            if len(datastore.image_sets):
                raise ConflictError("The data store is not empty")
            datastore.status, datastore.updated_at = "DELETED", self.clock()
            return datastore

    def admit_search(self) -> None:
        """Count a call of SearchImageSets. Raise ``ThrottlingError`` if it exceeds the quota."""
        if not self._quota.take(self.settings.calls_per_second, self.settings.burst):
            raise ThrottlingError("Rate exceeded")

    def search_image_sets(
        self, datastore_id: str, query: Query, *, limit: int, next_token: str | None, plan: FaultPlan = NO_FAULT
    ) -> tuple[list[ImageSet], str | None]:
        """Return one page of matches, and the token for the next page if there are more matches."""
        scope = ("SearchImageSets", datastore_id, repr(query))
        with self.lock:
            image_sets = self.require_active(datastore_id).image_sets
            image_sets.publish_due(monotonic())
            after = START_POSITION
            if next_token is not None:
                after = self.tokens.read(next_token, *scope, lifetime=self.settings.token_lifetime)
                if plan.expired_token:
                    raise invalid_token()
            if plan.empty_page:
                return [], self.tokens.issue(after, *scope)
            page, more = take_page(query.run(image_sets, after if after != START_POSITION else None), limit)
        return page, self.tokens.issue(query.position(page[-1]), *scope) if more else None

    def get_image_set(self, datastore_id: str, image_set_id: str, version: str | None = None) -> ImageSet:
        """Return the current version of an image set, or the given version."""
        versions = self._versions(datastore_id, image_set_id)
        if version is None:
            return versions[-1]
        for each in versions:
            if version == str(each.version):
                return each
        raise ResourceNotFoundError(f"Version {version} of {image_set_id} was not found")

    def list_image_set_versions(
        self, datastore_id: str, image_set_id: str, *, limit: int, next_token: str | None
    ) -> tuple[list[ImageSet], str | None]:
        """Return one page of versions, newest first, and the token for the next page."""
        scope = ("ListImageSetVersions", datastore_id, image_set_id)
        versions = self._versions(datastore_id, image_set_id)[::-1]
        last = self.tokens.read(next_token, *scope)[0] if next_token is not None else None
        rest = (each for each in versions if last is None or each.version < int(last))
        page, more = take_page(rest, limit)
        return page, self.tokens.issue((str(page[-1].version), ""), *scope) if more else None

    def image_sets(self, datastore_id: str) -> list[ImageSet]:
        """Return the current version of every image set, in no particular order."""
        with self.lock:
            return list(self.require_active(datastore_id).image_sets)

    def put_image_set(
        self,
        datastore_id: str,
        *,
        image_set_id: str | None = None,
        created_at: datetime | None = None,
        updated_at: datetime | None = None,
        version: int | None = None,
        is_primary: bool = True,
        dicom_tags: Mapping[str, TagValue] | None = None,
        instances: Iterable[Instance] = (),
    ) -> ImageSet:
        """Add an image set with exactly these values. It replaces an image set with the same id.

        :param created_at: aware datetime; default: now. Stored in UTC, with microseconds.
        :param updated_at: aware datetime; default: ``created_at``.
        :param dicom_tags: members of ``DICOMTags``; missing members are ``null`` in responses.
        """
        created_at = created_at or self.clock()
        image_set = ImageSet(
            require_match(ID_PATTERN, image_set_id or new_id(), "imageSetId"),
            created_at,
            updated_at or created_at,
            1 if version is None else version,
            is_primary,
            dict(dicom_tags or {}),
            by_uid(instances),
        )
        return self.replace_version(datastore_id, image_set)

    def update_image_set(
        self,
        datastore_id: str,
        image_set_id: str,
        *,
        updated_at: datetime | None = None,
        is_primary: bool | None = None,
        dicom_tags: Mapping[str, TagValue] | None = None,
        instances: Iterable[Instance] = (),
    ) -> ImageSet:
        """Add a version, as an import into the series does. ``updatedAt`` is now, and ``createdAt`` does not change.

        ``dicom_tags`` and ``instances`` are added to those of the last version, or replace them.
        """
        with self.lock:
            old = self._versions(datastore_id, image_set_id)[-1]
            image_set = replace(
                old,
                version=old.version + 1,
                updated_at=updated_at or self.clock(),
                is_primary=old.is_primary if is_primary is None else is_primary,
                dicom_tags={**old.dicom_tags, **(dicom_tags or {})},
                instances={**old.instances, **by_uid(instances)},
            )
            return self.replace_version(datastore_id, image_set)

    def replace_version(self, datastore_id: str, image_set: ImageSet) -> ImageSet:
        """Make ``image_set`` the current version. It replaces versions with the same or a higher number."""
        visible_at = monotonic() + self.settings.index_lag if self.settings.index_lag else None
        with self.lock:
            self.require_active(datastore_id).image_sets.put(image_set, visible_at)
        return image_set

    def delete_image_set(self, datastore_id: str, image_set_id: str) -> None:
        """Delete an image set and its versions."""
        with self.lock:
            self.require_active(datastore_id).image_sets.remove(image_set_id)

    def require_active(self, datastore_id: str) -> Datastore:
        """Return a data store. Raise ``ResourceNotFoundError`` if it is deleted."""
        datastore = self.get_datastore(datastore_id)
        if datastore.status != "ACTIVE":
            raise ResourceNotFoundError(f"Data store {datastore_id} was not found")
        return datastore

    def _versions(self, datastore_id: str, image_set_id: str) -> list[ImageSet]:
        require_match(ID_PATTERN, image_set_id, "imageSetId")
        with self.lock:
            return list(self.require_active(datastore_id).image_sets.versions(image_set_id))


medicalimaging_backends = BackendDict(
    MedicalImagingBackend,
    "medical-imaging",
    # botocore has no list of regions for the service.
    additional_regions=list(REGIONS),
)
