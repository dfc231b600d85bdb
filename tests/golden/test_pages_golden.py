"""Recorded devices judged by the shipped rules: no critical page that the device does not justify."""

import pytest

from benchmarks.corpus.memory import DEFAULT_CORPUS, recordings
from benchmarks.pages import Review, load_justifications, pages, review

pytestmark = pytest.mark.skipif(not DEFAULT_CORPUS.is_dir(), reason="needs the recordings in ../shared/corpus")


@pytest.fixture(scope="module")
def found() -> Review:
    files = recordings()
    return review(pages(files), files, load_justifications())


def test_every_critical_page_of_a_recorded_device_is_justified(found: Review) -> None:
    assert [str(page) for page in found.unjustified] == []


def test_every_justification_is_of_a_page_and_true(found: Review) -> None:
    assert found.unused == ()
    assert found.untrue == ()


def test_sick_devices_page(found: Review) -> None:
    assert {page.recording for page in found.justified} >= {"hwg-wld_600415", "ibm-imm_x3550m3"}
    assert len(found.room) > 10
