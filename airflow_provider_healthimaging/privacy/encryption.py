"""Encryption of the arguments that a trigger searches by.

Airflow does not encrypt a trigger's arguments everywhere. Since Airflow 3, those of a deferred task are stored as the
worker sent them, and those of an asset's watcher are part of the serialized DAG, both in clear. So they are encrypted
here, with a key derived from Airflow's Fernet key. The same text gives the same result on every parse, because Airflow
identifies an asset's trigger by its arguments.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress

from airflow.providers.common.compat.sdk import conf
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from airflow_provider_healthimaging.exceptions import ConfigurationError

SEALED_PREFIX = "sealed:"
EMPTY_JSON = "{}"


def is_sealed(value: object) -> bool:
    """Whether ``value`` is what :func:`seal` returned."""
    return isinstance(value, str) and value.startswith(SEALED_PREFIX)


def seal(text: str) -> str:
    """Encrypt JSON text. The same text gives the same result. An empty object, and encrypted text, stay as they are.

    :raises ConfigurationError: if Airflow has no Fernet key.
    """
    if text == EMPTY_JSON or is_sealed(text):
        return text
    cipher = next(_ciphers(), None)
    if cipher is None:
        raise ConfigurationError(
            "Triggers keep search_criteria and match encrypted, but [core] fernet_key is empty. Set [core] fernet_key."
        )
    return SEALED_PREFIX + base64.urlsafe_b64encode(cipher.encrypt(text.encode(), None)).decode()


def unseal(text: str) -> str:
    """Return the text that was sealed with one of Airflow's Fernet keys.

    :raises ConfigurationError: if none of them decrypts it.
    """
    if not is_sealed(text):
        return text
    for cipher in _ciphers():
        # A ValueError means that the text is damaged.
        with suppress(InvalidTag, ValueError):
            return cipher.decrypt(base64.urlsafe_b64decode(text.removeprefix(SEALED_PREFIX)), None).decode()
    raise ConfigurationError(
        "The triggerer cannot decrypt search_criteria and match: its [core] fernet_key differs from that of the worker "
        "or DAG processor. Set the same key for all components of Airflow."
    )


def _ciphers() -> Iterator[AESSIV]:
    """Yield a cipher for each Fernet key. As in Airflow, the first is the current one."""
    for key in str(conf.get("core", "fernet_key", fallback="")).split(","):
        if key.strip():
            derived = HKDF(SHA512(), 64, salt=None, info=b"airflow-provider-healthimaging").derive(key.strip().encode())
            yield AESSIV(derived)
