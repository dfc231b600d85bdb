"""A collector that is ten times as quick to notice that something is wrong: `python -m tests.chaos.hasty collector run --config FILE`."""

import sys

from watchkeeper.cli import main
from watchkeeper.collector import ticker
from watchkeeper.collector.process.health import emergency, health, heartbeat
from watchkeeper.collector.process.own import peers

TIMES = 10.0


def hurry() -> None:
    """Shorten every time by which work that is not done is found and told."""
    health.STALE_AFTER_S /= TIMES
    emergency.SAY_AFTER_S /= TIMES
    emergency.OVER_AFTER_S /= TIMES
    emergency.RETRY_S /= TIMES
    emergency.QUIET_S = 0.0
    heartbeat.AGAIN_AFTER_S /= TIMES
    peers.SILENT_AFTER_S /= TIMES
    peers.AWAY_S = 3.0  # less would find a busy machine away
    ticker.BEAT_EVERY_S /= TIMES


if __name__ == "__main__":
    hurry()
    sys.exit(main())
