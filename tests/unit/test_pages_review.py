"""`benchmarks.pages`: which critical pages are justified, and which justification is stale or untrue."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.pages import Justification, Page, load_justifications, pages, review
from watchkeeper.model.verdict import Level

LEAK = Page("leaky", "p", "environment.leak", "1", "Cafeteria", Level.CRITICAL, "wet", "1.3.6.1.4.1.9.1", "1")


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    file = tmp_path / "leaky.snmprec"
    file.write_text("1.3.6.1.4.1.9.1|2|1\n", encoding="utf-8")
    return file


def test_a_critical_page_needs_a_justification() -> None:
    found = review([LEAK], [], [])
    assert (found.unjustified, found.justified) == ((LEAK,), ())


@pytest.mark.parametrize(
    "other", [replace(LEAK, recording="dry"), replace(LEAK, rule="environment.smoke"), replace(LEAK, instance="2")]
)
def test_a_justification_is_for_its_recording_rule_and_instance(other: Page) -> None:
    one = Justification("leaky", ("environment.leak",), "its sensor is wet", "1")
    found = review([LEAK, other], [], [one])
    assert (found.justified, found.unjustified) == ((LEAK,), (other,))


def test_warnings_and_the_limits_of_the_room_need_none() -> None:
    warm, dusty = replace(LEAK, rule="environment.temperature"), replace(LEAK, level=Level.WARNING)
    found = review([warm, dusty], [], [])
    assert (found.room, found.warnings, found.unjustified) == ((warm,), (dusty,), ())


def test_a_justification_of_no_page_is_told() -> None:
    one = Justification("leaky", ("environment.leak",), "its sensor is wet")
    assert review([], [], [one]).unused == (one,)
    assert review([LEAK], [], [one]).unused == ()


@pytest.mark.parametrize(("text", "untrue"), [("1", ()), ("2", ("leaky: 1.3.6.1.4.1.9.1 answers 1, not 2",))])
def test_what_a_justification_shows_is_compared_with_the_recording(
    leaky: Path, text: str, untrue: tuple[str, ...]
) -> None:
    one = Justification("leak*", ("environment.leak",), "its sensor is wet", shows={"1.3.6.1.4.1.9.1": text})
    assert review([LEAK], [leaky], [one]).untrue == untrue


def test_a_sick_device_pages_and_a_healthy_one_does_not(tmp_path: Path) -> None:
    lines = ["1.3.6.1.2.1.1.2.0|6|1.3.6.1.2.1.33", "1.3.6.1.2.1.33.1.2.1.0|2|2", "1.3.6.1.2.1.33.1.4.1.0|2|{}"]
    for name, source in (("healthy", 3), ("sick", 5)):
        text = "\n".join(lines).format(source)
        (tmp_path / f"{name}.snmprec").write_text(text, encoding="utf-8")
    found = list(pages(sorted(tmp_path.glob("*.snmprec"))))
    assert [(page.recording, page.rule, page.value, page.oid, page.raw) for page in found] == [
        ("sick", "power.on-battery", "battery", "1.3.6.1.2.1.33.1.4.1.0", "5")
    ]


def test_the_reviewed_file_can_be_read() -> None:
    assert all(one.because for one in load_justifications())
