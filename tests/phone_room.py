"""A room with many devices in trouble, and what a browser test measures on a phone."""

import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.chromium import Chromium
from tests.collector_room import Room
from watchkeeper.model.batch import Lane
from watchkeeper.model.verdict import Evidence, Level, Verdict

PHONE = (390, 844)
"""The screen of a phone, in CSS pixels."""

FAULTS = (
    ("device.not-answering", Level.CRITICAL, Evidence("device.answering", "no", "is no")),
    ("server.disk-full", Level.CRITICAL, Evidence("disk.usage", 97.4, "above 95 %")),
    ("server.memory", Level.WARNING, Evidence("memory.usage", 91.2, "above 90 %")),
)


def break_many(room: Room, count: int, first: int = 0) -> None:
    """Load a configuration with so many servers more, each in a place of its own, and let each have one fault."""
    snapshot = room.runtime.snapshot
    pattern = replace(snapshot.devices["app-server-1"], depends_on=())
    more = {
        f"server-{n:03}": replace(pattern, device=f"server-{n:03}", location=f"机柜 B{n:03}")
        for n in range(first, first + count)
    }
    room.runtime.activate(replace(snapshot, devices={**snapshot.devices, **more}))
    at = room.clock.wall()
    verdicts = []
    for number, device in enumerate(more, first):
        rule, level, evidence = FAULTS[number % len(FAULTS)]
        verdicts.append(Verdict(f"many-{number}", device, rule, "", level, at, evidence))
    room.push(Lane.EVENTS, verdicts)


def broken_tokens(browser: Chromium) -> list[str]:
    """The values, times and names that are on more than one line although they fit into one."""
    found: list[str] = browser.run("""[...document.querySelectorAll('.token, time, .timer')].filter(token => {
        if (!token.checkVisibility({contentVisibilityAuto: true}) || !token.innerText.trim()) return false;
        const range = document.createRange();
        range.selectNodeContents(token);
        const tops = [...range.getClientRects()].filter(one => one.width > 1).map(one => one.top);
        return tops.length > 1 && Math.max(...tops) - Math.min(...tops) > 5;
    }).map(token => token.innerText)""")
    return found


def seen_without_scrolling(browser: Chromium, label: str) -> bool:
    """Whether a button is on the screen, and nothing is above it."""
    script = f"""[...document.querySelectorAll('button')].some(one => {{
        if (one.innerText.trim() !== {json.dumps(label)}) return false;
        const box = one.getBoundingClientRect();
        if (box.height < 44 || box.top < 0 || box.bottom > innerHeight) return false;
        return [box.left + 4, box.right - 4].every(x => one.contains(document.elementFromPoint(x, box.y + box.height / 2)));
    }})"""
    return bool(browser.run(script))


def accessibility_faults(browser: Chromium) -> list[str]:
    """What axe-core finds on the page. The variable WATCHKEEPER_AXE names the axe.min.js of another release."""
    browser.run(_axe() + "; 0")
    answer: Any = browser.ask(
        "Runtime.evaluate", expression="axe.run().then(found => found.violations)", awaitPromise=True, returnByValue=True
    )  # fmt: skip
    assert "exceptionDetails" not in answer, answer
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html']}"
        for one in answer["result"]["value"]
        for node in one["nodes"]
    ]


def _axe() -> str:
    named = os.environ.get("WATCHKEEPER_AXE", "")
    if not named:
        package = importlib.util.find_spec("axe_core_python")
        assert package, "make venv installs axe-core-python"
        assert package.submodule_search_locations
        named = str(Path(package.submodule_search_locations[0]) / "axe.min.js")
    return Path(named).read_text(encoding="utf-8")
