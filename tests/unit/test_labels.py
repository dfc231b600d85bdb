"""The label of a contact chooses what the contact measures."""

import pytest

from watchkeeper.profiles.labels import KINDS
from watchkeeper.profiles.scalars import pattern


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("Smoke detector 1", "smoke"),
        ("UPS room FIRE", "smoke"),
        ("烟感1#", "smoke"),
        ("消防告警", "smoke"),
        ("电池室烟雾", "smoke"),
        ("Water under the floor", "leak"),
        ("Leak AC 3", "leak"),
        ("空调漏水", "leak"),
        ("水浸传感器", "leak"),
        ("Water leak at door 3", "leak"),
        ("Front door", "door"),
        ("Cabinet Doors", "door"),
        ("Fire door", "door"),
        ("机柜前门", "door"),
        ("门磁2", "door"),
        ("南门", "door"),
        ("PIR corridor", "motion"),
        ("红外", "motion"),
        ("人体感应", "motion"),
        # not plain: an ordinary contact
        ("", "other"),
        ("Input 3", "other"),
        ("Smoke detector fault", "other"),
        ("烟感故障", "other"),
        ("Chilled water", "other"),
        ("Water pump", "other"),
        ("Refrigerant leak", "other"),
        ("Earth leakage", "other"),
        ("Outdoor unit", "other"),
        ("Firewall psu", "other"),
        ("Fire extinguisher low", "other"),
        ("Door lock", "other"),
        ("阀门", "other"),
        ("部门开关柜", "other"),
        ("厦门", "other"),
        ("Emotion", "other"),
        ("中国移动", "other"),
        ("备用 漏水", "other"),
    ],
)
def test_a_label_has_exactly_one_kind(label: str, kind: str) -> None:
    assert [name for name, one in KINDS.items() if one.search(label)] == [kind]


def test_a_profile_names_a_kind_with_a_dollar_sign() -> None:
    assert pattern("$leak").search("空调漏水")
    assert not pattern("$leak").search("Input 3")


def test_an_unknown_kind_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"`\$water` is no kind of contact; known: \$smoke, \$leak, \$door, \$motion, \$other"
    ):
        pattern("$water")
