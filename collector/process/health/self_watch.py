"""The collector's watch over itself. It needs no store, and starts before the store is opened."""

from watchkeeper.collector.process.health.emergency import Emergency
from watchkeeper.collector.process.health.health import Health
from watchkeeper.collector.process.health.heartbeat import Heartbeat

STOP_S = 2.0


class SelfWatch:
    """`health`, the direct messages, and the heartbeat if there is one; the last two have threads of their own."""

    def __init__(self, health: Health, emergency: Emergency, heartbeat: Heartbeat | None = None) -> None:
        self.health, self.emergency, self.heartbeat = health, emergency, heartbeat
        self._workers = [emergency.worker, *([heartbeat.worker] if heartbeat else [])]

    def start(self) -> None:
        """Start the threads, unless they run."""
        for worker in self._workers:
            if not worker.alive:
                worker.start()

    def stop(self) -> None:
        """Say nothing more: from now on it is meant that nothing is done."""
        self.health.stopping = True
        for worker in self._workers:
            worker.stop(STOP_S)
