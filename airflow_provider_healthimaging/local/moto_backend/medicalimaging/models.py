"""The backend: data stores and their operations, for requests and for tests that create image sets.

The methods accept and return Python values. ``responses`` converts them from requests and to JSON. Errors are those of
the service (see ``exceptions``). Arguments that no request can contain, such as a naive datetime, raise ``ValueError``
or ``TypeError``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from threading import RLock
from time import monotonic

from moto.core.base_backend import BackendDict

from .datastore import ID_PATTERN, new_id, require_match
from .datastores import DatastoreOperations
from .exceptions import ResourceNotFoundError, ThrottlingError
from .faults import NO_FAULT, FaultInjector, FaultPlan
from .image_sets import ImageSet, Instance, TagValue, by_uid
from .import_jobs import ImportJobs
from .paging import START_POSITION, PageTokens, invalid_token, take_page
from .quota import Quotas
from .search import Query
from .settings import Settings

REGIONS = ("us-east-1", "us-west-2", "ap-southeast-2", "eu-west-1", "eu-west-2")


class MedicalImagingBackend(DatastoreOperations):
    """HealthImaging in one account and region. Thread-safe."""

    def __init__(self, region_name: str, account_id: str) -> None:
        """Create an empty backend. moto calls this again for a reset."""
        super().__init__(region_name, account_id)
        self.settings = Settings()
        self.clock = lambda: datetime.now(UTC)
        self.datastores = {}
        self.fault_injector = FaultInjector()
        self._quotas = Quotas(self.settings)
        self.tokens = PageTokens()
        self.lock = RLock()
        self.import_jobs = ImportJobs(self)

    def admit(self, operation: str) -> None:
        """Count a call. Raise ``ThrottlingError`` if it exceeds the quota of the operation."""
        if not self._quotas.take(operation):
            raise ThrottlingError("Rate exceeded")

    def admit_search(self) -> None:
        """Count a call of SearchImageSets. Raise ``ThrottlingError`` if it exceeds the quota."""
        self.admit("SearchImageSets")

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

    def image_set_versions(self, datastore_id: str, image_set_id: str) -> list[ImageSet]:
        """Return all versions of an image set, newest first."""
        return self._versions(datastore_id, image_set_id)[::-1]

    def list_image_set_versions(
        self, datastore_id: str, image_set_id: str, *, limit: int, next_token: str | None
    ) -> tuple[list[ImageSet], str | None]:
        """Return one page of versions, newest first, and the token for the next page."""
        scope = ("ListImageSetVersions", datastore_id, image_set_id)
        versions = self.image_set_versions(datastore_id, image_set_id)
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
