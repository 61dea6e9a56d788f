"""Values that templates render to: what they become by mistake, and how a message shows them.

Jinja renders ``None`` to the text ``None``. With ``render_template_as_native_obj=True``, Airflow reads the rendered
text as a Python literal, so that a text of digits becomes a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType

from airflow_provider_healthimaging.exceptions import InvalidArgumentError

MAX_SHOWN_CHARACTERS = 200
"""How much of a value a message shows."""

NATIVE_RENDERING = (
    " If a template gave it: with render_template_as_native_obj=True, a text of digits becomes a number, without its "
    "leading zeros. Write {{ ... | tojson }}, or give the output of a task as it is (.output)."
)


def shown(value: object) -> str:
    """Return ``value`` for a message. Of a long value, only the beginning."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - Python has no repr of a very large number, and a class may have any
        return f"<{type(value).__name__}>"
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}..."


def type_and_hint(value: object, wanted: str) -> str:
    """Return which type ``value`` has and which is wanted, for a message. Name native rendering if it may be the cause.

    :param wanted: the type, as ``"a string"``.
    """
    hint = NATIVE_RENDERING if isinstance(value, int | float) else ""
    return f"must be {wanted}, not {type(value).__name__}.{hint}"


def check_text(name: str, value: object) -> str:
    """Return ``value`` if it is a string, and not the text that a template without a value renders to."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name} {type_and_hint(value, 'a string')}")
    reject_none_text(name, value)
    if not is_unicode(value):
        raise InvalidArgumentError(f"{name} has characters that are no Unicode text. Correct what it is read from.")
    return value


def is_unicode(text: str) -> bool:
    """Whether ``text`` can be encoded. A lone surrogate, left by a wrong character set, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_optional_text(name: str, value: object) -> str | None:
    """Return ``value`` as :func:`check_text` does; ``None`` and empty text mean not given."""
    return None if is_empty(value) else check_text(name, value)


def is_empty(value: object) -> bool:
    """Whether ``value`` stands for "not given": ``None``, a proxy of it, or text without a character."""
    return isinstance(value, NoneType) or (isinstance(value, str) and not value.strip())


def reject_none_text(name: str, value: object) -> None:
    """Raise if ``value``, or a value inside of it, is the text that a template renders to if it refers to nothing."""
    if any(text.strip() == "None" for text in _texts(value)):
        raise InvalidArgumentError(
            f"A value of {name} rendered to 'None': what its template refers to has no value in this run, such as an "
            "XCom that was not pushed. Correct the template. If nothing is to be given, let it render to an empty "
            "string: {{ ... or '' }}."
        )


def holds_template(value: object) -> bool:
    """Whether ``value``, or a value inside of it, is text with a Jinja expression."""
    return any("{{" in text or "{%" in text for text in _texts(value))


def _texts(value: object) -> Iterator[str]:
    """Yield the strings in ``value``; not by recursion, because JSON text may be nested deeper than Python calls."""
    values = [value]
    while values:
        each = values.pop()
        if isinstance(each, Mapping):
            values += each.values()
        elif isinstance(each, list | tuple | set | frozenset):
            values += each
        elif isinstance(each, str):
            yield each
