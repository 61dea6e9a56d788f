"""What the unit tests share: all that an exception would show to whoever logs it."""

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no reason to fail.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def all_text():
    """Return the text of an exception and of everything that it is chained to, suppressed or not."""

    def text(error):
        chain, todo = [], [error]
        while todo:
            each = todo.pop()
            if each is not None and all(each is not known for known in chain):
                chain.append(each)
                todo += [each.__cause__, each.__context__]
        return "\n".join(f"{each}\n{each!r}\n{getattr(each, '__notes__', '')}" for each in chain)

    return text
