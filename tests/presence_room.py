"""A device whose readings come and go, and what rules/presence.py says of it."""

from collections.abc import Callable

from tests.agent_room import device
from watchkeeper.model.device import Category
from watchkeeper.model.quantity import ABSENCE_QUANTITIES
from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value
from watchkeeper.rules.parts import rebase_record
from watchkeeper.rules.presence import Presence

NOT_THERE = Missing(Reason.ABSENT, "the device does not answer for it")
SILENT = Missing(Reason.TIMEOUT, "no answer")
ENV = Category.ENV
EVERY_S = 30.0

Row = tuple[str, str, Value]


class Hub:
    """A device and what Presence says of it. `rows` are (quantity, instance, value); the columns are the same tuple as long as
    quantities and instances are."""

    def __init__(self, records: dict[str, str] | None = None, *, without: tuple[str, ...] = (), **more: object) -> None:
        self.asked: Callable[[Series], bool] = lambda _: True
        self.judged: Callable[[Series], bool] = lambda _: True
        self.presence = Presence(
            lambda series, _: self.judged(series), records, lambda series: bool(self.asked(series))
        )
        self.define(without=without, **more)
        self.at = 10_000.0
        self.series: tuple[Series, ...] = ()
        self.last = Sweep("hub", 0.0, (), ())

    def define(self, **more: object) -> None:
        self.presence.activate([device("hub", **more)])

    def read(self, *rows: Row, times: int = 1, answering: str = "yes", every_s: float = EVERY_S) -> Sweep:
        columns = (
            Series("hub", "device.answering"),
            *(Series("hub", one, part, part, f"at {part}") for one, part, _ in rows),
        )
        if columns != self.series:
            self.series = columns
        for _ in range(times):
            self.at += every_s
            self.last = self.presence.join(
                Sweep("hub", self.at, self.series, (answering, *(row[2] for row in rows))), ENV
            )
        return self.last

    def gone(self) -> dict[tuple[str, str], float]:
        """What the last sweep says to be gone, and for how long."""
        return {
            (one.series.quantity, one.series.instance): one.value
            for one in self.last.readings()
            if one.series.quantity in ABSENCE_QUANTITIES and isinstance(one.value, float)
        }

    def parts(self) -> set[str]:
        return {part for (_, part), value in self.gone().items() if value > 0}

    def value(self, quantity: str, instance: str = "") -> Value | None:
        found = [
            one.value
            for one in self.last.readings()
            if (one.series.quantity, one.series.instance) == (quantity, instance)
        ]
        return found[0] if found else None

    def restarted(self, boot_later: float = 0.0, **more: object) -> "Hub":
        kept = {name: text for name, text in self.presence.take_unsaved().items() if text is not None}
        assert kept == {name: text for name, text in self.presence.records().items() if name in kept}
        again = Hub({name: rebase_record(text, boot_later) for name, text in self.presence.records().items()}, **more)
        again.at = self.at + boot_later
        return again


def warm(*parts: str) -> list[Row]:
    return [("temperature.ambient", part, 21.0) for part in parts]


FIVE = warm("1", "2", "3", "4", "5")
