"""Texts that are made outside the pages and messages (reasons, receipts, notes) are shown in the reader's language: each is in the
catalogue, and is found again with its parameters filled in."""

import ast
import itertools
import re
import string
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from tests import catalogue
from tests.catalogue import UNFOLLOWED, in_code, in_tables, shape
from tests.text_finder import Finder, Found, read_module
from watchkeeper.collector.notify.filled import NESTED, FilledTexts, has_words, text_pattern
from watchkeeper.collector.notify.i18n import translator
from watchkeeper.collector.site.inventory import Language

PO = catalogue.ROOT / "collector" / "locale" / "zh.filled.po"
chinese_of = translator(Language.CHINESE)


@pytest.fixture(scope="module")
def made() -> list[Found]:
    return [*in_code(), *in_tables()]


@pytest.fixture(scope="module")
def chinese() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="zh")


@pytest.fixture(scope="module")
def of_pages() -> set[str]:
    """The msgids of the other catalogue."""
    with PO.with_name("zh.po").open("rb") as file:
        return {str(message.id) for message in read_po(file, locale="zh") if message.id}


def test_every_text_that_is_made_is_in_the_catalogue(made: list[Found], chinese: Catalog, of_pages: set[str]) -> None:
    """A placeholder whose content is translated may be found anywhere; any other may also be found by the same template with one."""
    exact = {shape(str(message.id)) for message in chinese}
    known = exact | {one.replace("{~}", "{}") for one in exact}
    texts = [
        one
        for one in made
        if ("{" not in one.text or has_words(one.text))
        and not one.unknown
        and not (one.where == "model/reading.py" and one.text in of_pages)
    ]
    absent = [f'{one.where}: msgid "{one.text}"' for one in texts if shape(one.text) not in known]
    assert not absent, "add to collector/locale/zh.filled.po:\n" + "\n".join(absent)


def test_every_text_can_be_followed_to_where_it_is_written(made: list[Found]) -> None:
    unknown = {(one.where.partition(":")[0], one.text): one.where for one in made if one.unknown}
    lost = [f"{where}: {text}" for (file, text), where in unknown.items() if (file, text) not in UNFOLLOWED]
    assert not lost, (
        "write the text where it is used, or mark it (model/text.py) and list it in UNFOLLOWED:\n" + "\n".join(lost)
    )
    assert not UNFOLLOWED.keys() - unknown.keys(), "no longer there"


def test_nothing_is_in_the_catalogue_that_nobody_makes(made: list[Found], chinese: Catalog) -> None:
    said = {shape(one.text) for one in made}
    idle = [message.id for message in chinese if message.id and shape(str(message.id)) not in said]
    assert not idle, f"no longer made; remove from zh.filled.po: {idle}"


def test_every_translation_is_whole(chinese: Catalog) -> None:
    for message in chinese:
        if message.id:
            msgid, text = str(message.id), str(message.string)
            assert text, msgid
            assert not message.fuzzy, msgid
            assert sorted(re.findall(r"{\w+}", msgid)) == sorted(re.findall(r"{\w+}", text)), msgid
            assert not fill(msgid) or text_pattern(msgid, text), f"cannot be found again: {msgid}"
            assert msgid == text or not re.search(r"[a-z]{3,} [a-z]{2,} [a-z]{2,}", text), f"English in {text}"


# ---- the finder ----


def find(tmp_path: Path, source: str) -> list[str]:
    """What the finder finds in a file."""
    file = tmp_path / "probe.py"
    file.write_text(source)
    found = Finder({"probe.py": read_module(file, tmp_path)}).find()
    return [f"{one.where.partition(':')[2]} {'? ' if one.unknown else ''}{one.text}" for one in found]


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ('Missing(Reason.ABSENT, "no swap")', ["1 no swap"]),
        ('Missing(Reason.ABSENT, detail=f"no answer in {device.timeout_s:g} s")', ["1 no answer in {timeout_s} s"]),
        ('GONE = "it is gone"\nMissing(Reason.ABSENT, GONE)', ["2 it is gone"]),
        ('Missing(Reason.ABSENT, "up" if one else "down")', ["1 up", "1 down"]),
        ('DOWN = "no answer"\nNoAnswer(Reason.TIMEOUT, f"{DOWN} from {host}, {host}")', ["2 no answer from {host}, {host2}"]),
        ('ERRORS = {1: (Reason.REFUSED, "wrong password")}', ["1 wrong password"]),
        ('def fail(reason, why):\n    raise NoAnswer(reason, why)\nfail(Reason.FAULT, "a bug")', ["3 a bug"]),
        ('def fail(why):\n    raise NoAnswer(Reason.FAULT, why)\nfail(f"a bug in {name}")', ["3 a bug in {name}"]),
        ('def why():\n    return "the rule is gone"\ndef end():\n    text = why()\n    resolve(one, note=text)\n    Transition(k, t, by, level, text)',
         ["6 the rule is gone"]),
        ('Receipt(delivered=False, detail=one_line(f"{host} answered {status}"))', ["1 {host} answered {status}"]),
        ('TEXTS = (marked("one"), marked("two {x}").format(x=1))', ["1 one", "1 two {x}"]),
        ("Missing(Reason.ABSENT, texts[code])", ["1 ? texts[code]"]),
        ("Missing(Reason.ABSENT, library.words(packet))", ["1 ? library.words(packet)"]),
        ("Missing(Reason.ABSENT, other.detail)", []),
        ('Missing(Reason.ABSENT, f"the network reports: {error.strerror}")', ["1 the network reports: {strerror}"]),
    ],
)  # fmt: skip
def test_the_finder_finds(tmp_path: Path, source: str, texts: list[str]) -> None:
    assert find(tmp_path, source) == texts


def test_the_finder_sees_the_whole_package(made: list[Found]) -> None:
    places = {one.where.partition(":")[0] for one in made}
    for file in (
        "agent/main.py", "agent/poll/schedule.py", "agent/probes/ipmi/session.py", "agent/probes/modbus/probe.py",
        "agent/probes/services/mysql.py", "agent/probes/snmp/engine.py", "channels/webhook.py", "collector/policy/troubles.py",
        "collector/process/apply.py", "documents/secrets.py", "profiles/decode.py", "profiles/recognise.py", "rules/judge.py",
        "rules/presence.py",
    ):  # fmt: skip
        assert file in places or any(one.where.startswith(file) for one in made), file


# ---- finding a filled-in text again ----


def fill(msgid: str) -> dict[str, str]:
    """Parameters that no other template has in it."""
    names = [name for _, name, _, _ in string.Formatter().parse(msgid) if name]
    return {name: "Broken pipe" if name in NESTED else f"<{name}>" for name in names}


def test_every_filled_in_text_is_found_again_by_its_own_template(chinese: Catalog) -> None:
    texts = FilledTexts({str(message.id): str(message.string) for message in chinese if message.id})
    for message in filter(lambda one: one.id, chinese):
        parameters = fill(str(message.id))
        inner = dict.fromkeys(NESTED & parameters.keys(), "管道已断开")
        expected = str(message.string).format_map({**parameters, **inner})
        assert texts.translate(str(message.id).format_map(parameters)) == expected, message.id


@pytest.mark.parametrize(
    ("english", "expected"),
    [
        ("no answer within 5 s", "5 秒内无应答"),
        ("connected, but no whole answer within 0.5 s", "已连接，但 0.5 秒内没有完整应答"),
        ("the network reports: No route to host", "网络报告：没有到主机的路由"),
        ("the network reports: [Errno 101] Network is unreachable", "网络报告：网络不可达（错误码 101）"),
        ("the network reports: SomeError", "网络报告：SomeError"),
        ("ntfy: no answer within 10 s", "ntfy：10 秒内无应答"),
        ("the device answers `on battery`, which means: not available while it answers `2` for 1.3.6",
         "设备应答 `on battery`，表示不可用，同时应答 `2` for 1.3.6"),
        ("the device does not answer for it (1.3.6.1.4)", "设备未应答该项（1.3.6.1.4）"),
        ("removed: confirmed by 王芳", "已拆除：由 王芳 确认"),
        ("Fan 3: lower critical going low", "Fan 3：低于下限（紧急），继续下降"),
        ("trouble 7 is resolved already and cannot be acknowledged", "故障 7 已解决，不能再确认"),
    ],
)  # fmt: skip
def test_a_text_with_its_parameters_in_it_is_translated(english: str, expected: str) -> None:
    assert chinese_of(english) == expected
    assert translator(Language.ENGLISH)(english) == english


@pytest.mark.parametrize(
    "text",
    ["", "Rack 3: water on the floor", "王芳：到场", "no answer within", "(A) is outside", "x" * 5000, "{", "{0}"],
)
def test_other_words_stay_as_they_are(text: str) -> None:
    assert chinese_of(text) == text


def test_words_of_a_device_stay_as_they_are() -> None:
    """They may be the same as a text of ours."""
    assert chinese_of("`timeout` is not a number") == "`timeout` 不是数字"
    assert chinese_of("systemd knows no unit no answer within 5 s") == "systemd 中没有单元 no answer within 5 s"
    assert chinese_of("upsd answers {timeout} {0}") == "upsd 应答 {timeout} {0}"


def test_the_template_with_the_most_text_of_its_own_wins() -> None:
    texts = FilledTexts(
        {"{a} is gone": "1{a}", "the {b} is gone": "2{b}", "{a}: {reason}": "3{a}{reason}", "gone": "4"}
    )
    assert texts.translate("the disk is gone") == "2disk"
    assert texts.translate("a disk is gone") == "1a disk"
    assert texts.translate("x: gone") == "3x4"
    assert texts.translate("x: y") == "x: y"  # no word of its own, and nothing known inside
    assert texts.translate(" is gone") == " is gone"  # nothing between


def test_a_text_made_to_be_slow_is_not() -> None:
    """The work is bounded: one pass over the text for each template, and four texts within texts."""
    texts = FilledTexts({"{a} a {b} a {c} a {error}": "{a}{b}{c}{error}", "but: {error}": "ja: {error}"})
    assert texts.translate("a " * 1001) == "a " * 1001  # longer than any text of ours
    assert texts.translate("a " * 900) == "a " * 900  # no word of its own
    assert texts.translate("but: " * 20 + "z") == "ja: " * 4 + "but: " * 16 + "z"


def test_templates_that_cannot_be_told_apart_are_no_templates() -> None:
    assert text_pattern("{a}{b}", "") is None
    assert text_pattern("{a} and {a}", "") is None
    assert text_pattern("nothing", "") is None


def test_the_marks_are_texts() -> None:
    """`marked` takes a text or an f-string; a variable in it would be lost."""
    for module in catalogue.modules().values():
        for node in ast.walk(module.tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "marked"
                and node.args
            ):
                assert isinstance(node.args[0], ast.Constant | ast.JoinedStr), f"{module.name}:{node.lineno}"


def test_no_two_entries_have_the_same_shape(chinese: Catalog) -> None:
    shapes = sorted(shape(str(message.id)).replace("{~}", "{}") for message in chinese if message.id)
    assert [one for one, same in itertools.groupby(shapes) if len(list(same)) > 1] == []
