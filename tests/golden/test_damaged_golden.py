"""Recorded devices that have lost objects, sysDescr or sysObjectID are still recognised and read (benchmarks/damaged.py)."""

import pytest

from benchmarks import damaged

FILES = sorted((damaged.DEFAULT_CORPUS / "snmprec").glob("*.snmprec"))
pytestmark = pytest.mark.skipif(not FILES, reason="needs the recordings in ../shared/corpus")

RECOGNISED, READ = 0.97, 0.95


@pytest.fixture(scope="module")
def outcomes() -> list[damaged.Outcome]:
    return [one for file in FILES for one in damaged.judge(file, 1)]


def test_vendor_and_category_stay_right(outcomes: list[damaged.Outcome]) -> None:
    counted = [one for one in outcomes if one.telling]
    assert len(counted) > 0.6 * len(outcomes)
    assert sum(one.recognised for one in counted) >= RECOGNISED * len(counted)


def test_what_is_left_is_read(outcomes: list[damaged.Outcome]) -> None:
    left = sum(one.left for one in outcomes)
    assert left > 10 * len(outcomes)
    assert sum(one.read for one in outcomes) >= READ * left


def test_a_model_that_no_match_knows_is_recognised_by_its_objects() -> None:
    found = [one for file in FILES for one in [damaged.unknown_model(file)] if one]
    assert len(found) > 100
    assert [name for name, right in found if not right] == []
