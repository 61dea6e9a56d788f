"""A half-open span of time in UTC, and the bounds of the search that covers it.

``[start, end)``: ``start`` belongs to the window, ``end`` to the next one. So windows that touch share nothing and
leave nothing out.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow_provider_healthimaging.exceptions import InvalidArgumentError

_SECOND = timedelta(seconds=1)


def parse_instant(value: object, name: str) -> datetime:
    """Return ``value`` as a UTC datetime.

    :param value: an aware datetime, or an ISO 8601 string with a UTC offset.
    :param name: the name of the value, for the error.
    :raises InvalidArgumentError: for any other value. A naive time is an error too: botocore would take it as UTC, and
        its author may have meant another time zone.
    """
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            raise InvalidArgumentError(
                f"{name}={value!r} is not an ISO 8601 time. Give one such as '2026-01-31T13:00:00Z'."
            ) from None
    elif isinstance(value, datetime):
        moment = value
    else:
        raise InvalidArgumentError(f"{name} is a {type(value).__name__}. Give an aware datetime or an ISO 8601 string.")
    if moment.utcoffset() is None:
        raise InvalidArgumentError(
            f"{name}={str(value)!r} has no time zone. "
            "Add an offset, such as '2026-01-31T13:00:00Z' or '2026-01-31T13:00:00+01:00'."
        )
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        raise InvalidArgumentError(f"{name}={str(value)!r} is out of range. Give a time after year 1.") from None
    return datetime.combine(utc.date(), utc.time(), UTC)


def window_ending_now(start: datetime | str, now: datetime) -> TimeWindow:
    """Return the window from ``start`` to ``now``, or the shortest possible one if ``start`` is in the future."""
    first = parse_instant(start, "window start")
    return TimeWindow(first, max(now, first + timedelta(microseconds=1)))


def format_utc(moment: datetime, *, timespec: str = "auto") -> str:
    """Format a UTC datetime as ISO 8601 ending in ``Z``."""
    return moment.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


@dataclass(frozen=True, slots=True, init=False)
class TimeWindow:
    """The half-open span ``[start, end)``, kept in UTC at microsecond precision.

    :param start: aware datetime, or ISO 8601 string with an offset; belongs to the window.
    :param end: the same; does not belong to the window.
    :raises InvalidArgumentError: for a naive time, or where ``start`` is not before ``end``.
    """

    start: datetime
    end: datetime

    def __init__(self, start: datetime | str, end: datetime | str) -> None:
        """Take aware datetimes or ISO 8601 strings, and keep them in UTC."""
        object.__setattr__(self, "start", parse_instant(start, "window start"))
        object.__setattr__(self, "end", parse_instant(end, "window end"))
        if self.start >= self.end:
            problem = "empty" if self.start == self.end else "reversed"
            raise InvalidArgumentError(
                f"The window {self} is {problem}. Its start must be before its end; the end does not belong to it."
            )

    def __str__(self) -> str:
        return f"{format_utc(self.start)}/{format_utc(self.end)}"

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    @property
    def duration(self) -> timedelta:
        """The time between start and end."""
        return self.end - self.start

    def to_dict(self) -> dict[str, str]:
        """Return ISO 8601 strings from which ``TimeWindow(**window.to_dict())`` makes the same window."""
        return {"start": format_utc(self.start), "end": format_utc(self.end)}

    def query_bounds(self) -> tuple[datetime, datetime]:
        """Return the bounds of the search: whole seconds, one second wider on each side.

        Whether the service's ``BETWEEN`` includes its edges is undocumented, and botocore before 1.43.93 cuts
        fractions of a second off them. These bounds cover the window in every case. Search hits outside the window are
        then dropped with ``in``.
        """
        first = self.start.replace(microsecond=0)
        last = self.end.replace(microsecond=0)
        if last < self.end:
            last = _shift(last, _SECOND)
        return _shift(first, -_SECOND), _shift(last, _SECOND)

    def end_ceiling(self) -> datetime:
        """Return the first whole second that is not before the end."""
        _, upper = self.query_bounds()
        return max(upper - _SECOND, self.end)

    def extended_back(self, lookback: timedelta) -> TimeWindow:
        """Return the window with its start moved back by ``lookback``."""
        return TimeWindow(_shift(self.start, -lookback), self.end)

    def split(self, parts: int = 2) -> list[TimeWindow]:
        """Split the window into ``parts`` windows that touch, of equal length to the microsecond.

        :param parts: how many windows.
        :raises InvalidArgumentError: if ``parts`` is below 1, or more than the microseconds in the window.
        """
        microseconds = self.duration // timedelta(microseconds=1)
        if not isinstance(parts, int) or isinstance(parts, bool):
            raise InvalidArgumentError(f"parts must be a whole number, not {type(parts).__name__}.")
        if not 1 <= parts <= microseconds:
            raise InvalidArgumentError(
                f"parts={parts!r} is out of range. Give 1 to {microseconds}, the microseconds in {self}."
            )
        edges = [self.start + timedelta(microseconds=microseconds * i // parts) for i in range(parts + 1)]
        return [TimeWindow(start, end) for start, end in itertools.pairwise(edges)]


def _shift(moment: datetime, by: timedelta) -> datetime:
    """Return ``moment`` moved by ``by``, or the first or last datetime if that is out of range."""
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if by > timedelta(0) else datetime.min.replace(tzinfo=UTC)
