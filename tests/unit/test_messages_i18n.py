"""Every text that an on-call engineer reads has a Chinese translation: in the code, the templates, the shipped rules, the
starter configuration and the catalogue of quantities."""

import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from watchkeeper.collector.notify.i18n import translations
from watchkeeper.collector.site.inventory import Language
from watchkeeper.model.habit import HABITS
from watchkeeper.model.quantity import QUANTITIES

ROOT = Path(__file__).resolve().parents[2]
PO = ROOT / "collector" / "locale" / "zh.po"
METHODS = [("**.py", "python"), ("web/templates/**.html", "jinja2")]
PERCENT = re.compile(r"%\((\w+)\)[sd]")


def in_code() -> Iterator[str]:
    keywords = {"_": None, "gettext": None, "say": None, "marked": None}
    for _, _, message, _, _ in extract_from_dir(
        ROOT / "collector", METHODS, {"web/templates/**.html": {"trimmed": "true"}}, keywords
    ):
        assert isinstance(message, str), f"plural forms are not used here: {message}"
        yield message


def in_rules() -> Iterator[str]:
    for file in sorted((ROOT / "rules" / "library").glob("*.yml")):
        for rule in yaml.safe_load(file.read_text(encoding="utf-8"))["rules"]:
            yield from (rule["title"], rule["advice"])


def in_starters() -> Iterator[str]:
    """Texts of the starter configuration. An operator may change them; they are translated if they are unchanged."""
    for ladder in yaml.safe_load((ROOT / "configs" / "ladders.yml").read_text(encoding="utf-8"))["ladders"]:
        for rung in ladder["rungs"]:
            yield from (rung["rung"], rung["say"])
    contacts = yaml.load((ROOT / "configs" / "contacts.yml").read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506 -- makes nothing but text
    yield from (shift["shift"] for shift in contacts["shifts"])
    site = yaml.load((ROOT / "configs" / "rules" / "site.yml").read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506 -- makes nothing but text
    for rule in site["rules"]:
        yield from (rule["title"], rule["advice"])


def in_quantities() -> Iterator[str]:
    for quantity in QUANTITIES.values():
        yield quantity.title
        yield from quantity.states


def everything() -> set[str]:
    return {*HABITS.values(), *in_code(), *in_rules(), *in_starters(), *in_quantities()}


def placeholders(text: str) -> list[str]:
    named = [name for _, name, _, _ in string.Formatter().parse(PERCENT.sub("", text)) if name is not None]
    return sorted(named + PERCENT.findall(text))


@pytest.fixture(scope="module")
def chinese() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="zh")


def test_the_extraction_finds_all_sorts_of_texts() -> None:
    found = everything()
    for text in (
        "[recovered] {device}: {title}",  # marked() in compose.py
        "Since {began}, unresolved for {lasted}",  # say() in compose.py
        "You are notified because nobody has the role: {roles}",  # marked() in compose.py
        "Cannot be resolved …",  # _() in a template
        "Room temperature out of range",  # a rule's title
        "Start at once.",  # what a rung tells people to do
        "Battery runtime left",  # a quantity
        "bypass",  # a state
        "on-site",  # a rung
        "the rows of a table are not in order",  # a habit
        "timeout",  # a reason
        "open (off)",  # a state with a label of its own
    ):
        assert text in found


def test_nothing_lacks_its_chinese(chinese: Catalog) -> None:
    absent = sorted(text for text in everything() if text not in chinese)
    assert not absent, "add to collector/locale/zh.po:\n" + "\n".join(f'msgid "{text}"' for text in absent)
    empty = sorted(str(message.id) for message in chinese if message.id and (not message.string or message.fuzzy))
    assert not empty, f"not translated, or only guessed: {empty}"


def test_nothing_is_translated_that_nobody_says(chinese: Catalog) -> None:
    idle = {message.id for message in chinese if message.id} - everything()
    assert not idle, f"no longer said; remove from zh.po: {sorted(map(str, idle))}"


def test_placeholders_are_the_same_in_both(chinese: Catalog) -> None:
    for message in chinese:
        assert isinstance(message.id, str)
        assert isinstance(message.string, str)
        assert placeholders(message.id) == placeholders(message.string), message.id


def test_a_translation_that_drops_a_placeholder_would_be_found() -> None:
    assert placeholders("{a} of %(b)s, {a}") == ["a", "a", "b"]
    assert placeholders("100 %, {x:.1f}") == ["x"]


def test_the_catalogue_that_runs_is_the_file() -> None:
    assert translations(Language.CHINESE).gettext("Device unreachable") == "设备不可达"
    assert translations(Language.ENGLISH).gettext("Device unreachable") == "Device unreachable"


@pytest.mark.parametrize(
    ("english", "term"),
    [
        ("On duty", "值班"), ("Relative humidity", "相对湿度"), ("Air conditioning", "空调"), ("Maintenance vendor", "维保服务商"),
        ("Call the maintenance vendor or the manufacturer's engineer.", "厂商工程师"),
        ("The owner comes on site at once; the head of the data centre is informed.", "立即到场"),
        ("Handover {time} (in {left}): {person}, {shift}", "交接班"),
    ],
)  # fmt: skip
def test_the_regulations_own_terms_are_used(english: str, term: str) -> None:
    assert term in translations(Language.CHINESE).gettext(english)


def test_the_on_call_page_speaks_of_what_is_on_the_screen() -> None:
    """docs/on-call.md quotes buttons and warnings, in both languages."""
    page = (ROOT / "docs" / "on-call.md").read_text(encoding="utf-8")
    said, chinese = everything(), translations(Language.CHINESE).gettext
    quoted = (
        "I am working on it", "Cannot be resolved …", "Escalate now", "last value", "STALE", "no reading", "Start at once.",
        "The collector does not answer. What you see is old.", "Room temperature out of range",
        "The configuration has errors; the previous configuration stays active.",
    )  # fmt: skip
    for text in quoted:
        assert text in page
        assert text in said
    for text in ("I am working on it", "Cannot be resolved …", "Escalate now", "STALE", "last value", "no reading"):
        assert chinese(text) in page
