"""Checks a request against botocore's model of the service: required members, types, lengths, patterns, enums.

botocore itself does not check maxima, patterns and enums. The messages quote the invalid value, as AWS does.
"""

import re
from functools import cache
from typing import Any, NoReturn

import botocore.session
from botocore.model import Shape

from .exceptions import ValidationError

# The model's own pattern takes a time that doubles with each character of an invalid path. This one accepts the same.
_FAST_PATTERNS = {"[a-zA-Z0-9!-~]+([a-zA-Z0-9!-~ ]*[a-zA-Z0-9!-~]+)*": "[!-~]([ -~]*[!-~])?"}
_TYPES: dict[str, type] = {"string": str, "list": list, "structure": dict}


def validate_request(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return the members of the ``request`` that the operation knows, without those that are null.

    :raises ValidationError: for the first member that is missing or invalid.
    """
    shape = _operation_input(operation)
    valid: dict[str, Any] = _checked(shape, request, "request")
    return valid


@cache
def _operation_input(operation: str) -> Shape | None:
    model = botocore.session.get_session().get_service_model("medical-imaging")
    return model.operation_model(operation).input_shape


def _checked(shape: Any, value: Any, location: str) -> Any:
    if not isinstance(value, _TYPES[shape.type_name]):
        _reject(location, value, f"must be a {shape.type_name}")
    if isinstance(value, dict):
        return _checked_members(shape, value, location)
    _check_constraints(shape.metadata, value, location)
    if isinstance(value, list):
        return [_checked(shape.member, item, f"{location}.{number}") for number, item in enumerate(value, start=1)]
    return value


def _checked_members(shape: Any, value: dict[str, Any], location: str) -> dict[str, Any]:
    present = {name: member for name, member in value.items() if member is not None and name in shape.members}
    for name in shape.required_members:
        if name not in present:
            raise ValidationError(f"Value null at '{name}' must not be null")
    if shape.is_tagged_union and len(present) != 1:
        _reject(location, value, f"must have exactly one of {', '.join(shape.members)}")
    return {name: _checked(shape.members[name], member, name) for name, member in present.items()}


def _check_constraints(limits: dict[str, Any], value: Any, location: str) -> None:
    if not limits.get("min", 0) <= len(value) <= limits.get("max", len(value)):
        _reject(location, value, f"must have a length from {limits.get('min', 0)} to {limits.get('max', 'any')}")
    if "enum" in limits and value not in limits["enum"]:
        _reject(location, value, f"must be one of {', '.join(limits['enum'])}")
    pattern = limits.get("pattern")
    # The pattern of tokens has a class that Python does not know. Invalid tokens are found when they are read.
    if pattern and "\\p{" not in pattern and not re.fullmatch(_FAST_PATTERNS.get(pattern, pattern), value, re.ASCII):
        _reject(location, value, f"must match {pattern}")


def _reject(location: str, value: Any, constraint: str) -> NoReturn:
    raise ValidationError(f"Value {value!r} at '{location}' {constraint}")
