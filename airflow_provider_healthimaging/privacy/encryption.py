"""Keep what a trigger searches by unreadable wherever Airflow keeps a trigger.

Airflow encrypts the arguments of a trigger in some places and not in others: since Airflow 3 those of a deferred task
are stored as the worker sent them, and those of an asset's watcher are part of the serialized DAG, both in clear. So
they are encrypted here, with a key derived from Airflow's Fernet key, and in such a way that the same text gives the
same result on every parse, as an asset's trigger is recognised by its arguments.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from airflow.providers.common.compat.sdk import conf
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from airflow_provider_healthimaging.exceptions import ConfigurationError

PREFIX = "sealed:"
EMPTY = "{}"


def is_sealed(value: object) -> bool:
    """Whether ``value`` is what :func:`seal` returned."""
    return isinstance(value, str) and value.startswith(PREFIX)


def seal(text: str) -> str:
    """Encrypt JSON text; the same text gives the same result. What is empty or sealed stays as it is.

    :raises ConfigurationError: where Airflow has no Fernet key.
    """
    if text == EMPTY or is_sealed(text):
        return text
    cipher = next(_ciphers(), None)
    if cipher is None:
        raise ConfigurationError(
            "search_criteria and match are kept encrypted in triggers, but [core] fernet_key is empty: set it."
        )
    return PREFIX + base64.urlsafe_b64encode(cipher.encrypt(text.encode(), None)).decode()


def unseal(text: str) -> str:
    """Return the text that was sealed with one of Airflow's Fernet keys.

    :raises ConfigurationError: where none of them opens it.
    """
    if not is_sealed(text):
        return text
    sealed = base64.urlsafe_b64decode(text.removeprefix(PREFIX))
    for cipher in _ciphers():
        try:
            return cipher.decrypt(sealed, None).decode()
        except InvalidTag:
            continue
    raise ConfigurationError(
        "The triggerer cannot decrypt what it is to search by: its [core] fernet_key is not the one of the worker or "
        "DAG processor that it comes from. Set the same key for all of Airflow's components."
    )


def _ciphers() -> Iterator[AESSIV]:
    """Yield a cipher for each Fernet key; the first is the current one, as in Airflow."""
    for key in str(conf.get("core", "fernet_key", fallback="")).split(","):
        if key.strip():
            derived = HKDF(SHA512(), 64, salt=None, info=b"airflow-provider-healthimaging").derive(key.strip().encode())
            yield AESSIV(derived)
