"""A device's page says how the device answers otherwise than its protocol's standard says."""

from pathlib import Path

import pytest

from tests.collector_room import Room, browser, words


@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "objects in one request: at most 8"), ("zh", "一次请求的对象数：最多 8")]
)
def test_a_device_that_differs_from_the_standard_says_so(tmp_path: Path, language: str, sentence: str) -> None:
    with Room(tmp_path) as room, browser(room.front) as web:

        def page() -> str:
            return words(web.get("/devices/ups-1", headers={"accept-language": language}).text)

        room.read("ups-1", {("device.answering", "", "", "snmp no-getbulk most=8 a-new-word={x}"): "yes"})
        assert sentence in page()
        assert "a-new-word" in page()
        room.clock.advance(30)
        room.read("ups-1", {("device.answering", "", "", "snmp"): "yes"})
        assert sentence not in page()
        assert "a-new-word" not in page()
