"""Callbacks whose packages are not installed."""

import pytest

from vprtrain.callbacks.extras import import_extra
from vprtrain.errors import UsageError


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(UsageError, match=r"'nowhere': pip install 'vprtrain\[it\]'"):
        import_extra("nowhere.deep", "it")


def test_a_package_that_is_there():
    assert import_extra("json.decoder", "it").JSONDecoder
