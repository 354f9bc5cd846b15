"""Names that look the same."""

import pytest

from vprtrain.lists import first_alike


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("spk", "spk "),
        ("a b", "a  b"),
        ("caf\u00e9", "cafe\u0301"),
        ("spk", "spk\u200b"),
        ("\ufeffspk", "spk"),
        ("\u5f20\u4f1f", "\u5f20\u200d\u4f1f"),
    ],
)
def test_names_that_look_the_same_are_found(first, second):
    assert first_alike(["other", first, "third", second]) == (first, second)


def test_different_names_and_repetitions_are_not():
    assert first_alike(["a", "b", "a", "\u5f20", "\u5f20\u4f1f", "cafe", "caf\u00e9"]) is None
