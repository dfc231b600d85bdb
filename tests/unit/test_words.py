"""The field's words, in code, pages and docs: what was replaced does not come back.

docs/glossary.md has the words to use. Each entry here is a former private word and what to say instead.
"""

import re
from pathlib import Path

import pytest

from tests.unit.test_house import ROOT, files

NAMES = {
    r"\b[Oo]ffice\b|\boffice_": "runtime",
    r"\bDesks?\b|\b_?desks?\b": "notifier",
    r"\bBooks\b|\bbooks\b|\bbookkeeping\b": "configuration, ConfigReloader",
    r"\borders\b": "snapshot, configuration",
    r"\bPatien(t|ce|tly)\b|PATIENCE|_patient\b|\bpatien(t|ce|tly)\b": "limits, bounded calls, grace, fallback engine",
    r"\bClimb\b|\bclimbs?\b(?! (the|its|a|one) )|\bladder\.climb|_climbs?\b|\bclimb\.py\b": "due rungs, schedule rungs, progress, escalate",
    r"\bLanes\b|\blanes\.py\b": "sequences",
    r"\bErrands?\b|\berrands?\b|\bVisit\b": "check, attempt",
    r"\bEar\b|\b_?ear\b|\bSpells\b|\bTold\b|\bLaid\b": "trap listener, bursts, reply, layout",
    r"\bHousehold\b|\bhousehold\b|\bfurnish\b": "deployment",
    r"\btallies\b|\bTallies\b|\breach\.py\b|\bflow\.py\b": "self-metrics, preflight, pipeline",
    r"\b_owed\b|\bowed\b|\b_pay\b|\b_paid\b": "pending, apply pending",
    r"\bA_SECOND\b|\bEACH\b": "a name with what is meant and its unit",
}
PROSE = {
    r"[Hh]alf a story|\b[Ss]tor(y|ies) of (events|an? )": "backlog, incident detail",
    r"of before": "previous",
    r"\b[Cc]ame and went\b": "cleared before notification",
    r"[Tt]old to you because": "you are notified because",
    r"[Ll]ately over|\bby nobody\b": "recently resolved, not acknowledged",
    r"Who are you\?|There is no such thing": "Sign in, Not found",
    r"reports itself unwell|Device answers\b|Memory fitted|Read it now": "the right column of the table",
    r"\bstands\b(?! for\b)": "is, has, remains",
    r"\bof what is\b|\b[Ii]s to\b": "must, should",
    r"\b[Ss]ee the module\b": "say it",
    r"\b[Rr]ound \d|\bround %": "recurrence",
    r"\bearlier li(fe|ves)\b": "an earlier run",
}
CHINESE = {
    "汇集端": "采集中心", "升级阶梯": "升级策略", "已到": "当前级别", "曾为": "上次值", "经过": "处理记录",
    "电池荷电": "电池电量", "测量项": "指标", "部位": "部件",
}  # fmt: skip
TEXTS = ("*.py", "*.md", "*.yml", "*.html", "*.js", "*.css", "*.toml", "*.service", "*.sh", "Makefile", "*.json")
EXEMPT = {
    Path("tests/unit/test_words.py"),
    Path("LICENSE"),
}
"""The list itself, and other people's words."""

ALLOWED = re.compile(
    # The former key of collector.yml is still read; migrations keep what a store of that version has; `is to` in a name.
    r'renamed\("books"\)|`books`|books: |collector/store/migrations/|monitoring/'
)


def found(words: dict[str, str], *patterns: str) -> list[str]:
    hits = []
    for path in files(*patterns):
        name = path.relative_to(ROOT)
        if name in EXEMPT or "migrations" in name.parts or name.parts[:2] == ("docs", "decisions"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for word, instead in words.items():
                if re.search(word, line) and not ALLOWED.search(line):
                    hits.append(f"{name}:{number}: {line.strip()[:100]}  -> {instead}")
    return hits


@pytest.mark.parametrize("words", [NAMES, PROSE], ids=["names", "prose"])
def test_no_private_word_is_left(words: dict[str, str]) -> None:
    hits = found(words, *TEXTS)
    assert not hits, "\n".join(hits)


def test_no_former_chinese_word_is_left() -> None:
    hits = found(CHINESE, "*.po", "*.md", "*.html", "*.py")
    assert not hits, "\n".join(hits)


def test_the_search_finds_words() -> None:
    """The patterns themselves: each finds its word in a line, and leaves its neighbours alone."""
    every = {**NAMES, **PROSE}
    for line in (
        "the office",
        "desk.page(",
        "the books have",
        "an errand of",
        "half a story",
        "it stands",
        "is to be",
        "the ear hears",
    ):
        assert any(re.search(word, line) for word in every), line
    for line in (
        "official",
        "desktop",
        "bookmark",
        "lanes of an agent",
        "standstill",
        "withstands".replace("stands", "stood"),
        "early",
    ):
        assert not any(re.search(word, line) for word in every), line
