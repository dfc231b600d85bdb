"""Regular expressions of operators: those that can take without bound are refused at load, with their place."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.profile_box import HEAD, complaint
from watchkeeper.documents.bind import try_load
from watchkeeper.model.batch import Document
from watchkeeper.model.device import Process
from watchkeeper.model.errors import ConfigError
from watchkeeper.model.pattern import checked_pattern, longest_text
from watchkeeper.profiles import load_profiles

ENDLESS = [
    r"(a+)+$", r"(a|a)*$", r"(.*)*x", r"(\w+\s?)+$", r"([a-z]+)*=",
    r"(a|aa)+$", r"(a|b|ab)*c", r"(?:a*)*b", r"(a*)+$", r"((ab)*)*c", r"(x+x+)+y", r"(?:[^x]|yy|y)*z", r"(\s*\w*)*$",
    r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(a+){2,}b", r"(a+){10}b", r"((?:aa|aa){16}){16}$", r"(a?){30}a{30}", r"((a|)*b)*$",
    r"(?:a(?:|))*c", r"(?i)(?:ab|AB)*c", r"x(?=(a+)+$)", r"(?!(a|a)*$)b", r"(?:(a)|b\1|ba)*$", r"(?>a+|aa)+b", r"(?:é+)+$",
    r"(a)?(?(1)(b+)+|c)d",
    r".*a.*b.*c.*d", r"^\s*\s*\s*\s*x", r"^.*a.*b.*c.*d", r"\d+\d+\d+\d+$",
    r"(?:国国|[一-龥]国)*$", r"(?:èa|\wa)*$", r"(?:٣a|\da)*$", r"(?:(?i:ab)|AB)*$", r"(?:ſa|(?i:sa))*x",
    r"^a|.*a.*b.*c", r"(?m)^.*a.*b.*c",
]  # fmt: skip
BOUNDED = [
    r"^Box", r"Temp: ([-\d.]+)", r"^[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ +([0-9.]+)(?: |$)", r"(?:\d{1,3}\.){3}\d{1,3}",
    r"foo.*bar", r".*foo.*bar", r"^.*a.*b.*c", r"(?:ab?)*c", r"^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$", r"(\w+ )*end", r"(,?\d+,)*x",
    r"(\d|\w)+$", r"(?i)(a|A)+$", r"(a|b)*c", r"(?:ab|ac)*d", r"a{1,5}b", r"^(?!Virtual memory$|Swap).*", r"java .*/opt/pay/app\.jar",
    r"(?:水a|火a)*$", r"^(?:温度|湿度)[：:] *(\d+)", r"(?:(?i:a)b|cb)*$", r"^ab|^cd.*e.*f",
    r"(?:GET|PUT) /\S+ HTTP/\d\.\d", r"^([a-z]+,)*[a-z]+$", r"(?P<n>\d+)-(?P=n)", r"\bOL\b(?!.*\bOB\b)", "",
]  # fmt: skip


@pytest.mark.parametrize("text", ENDLESS)
def test_an_expression_that_can_take_without_bound_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="can take without bound") as caught:
        checked_pattern(text)
    assert f"`{text}`" in str(caught.value)


@pytest.mark.parametrize("text", BOUNDED)
def test_any_other_is_accepted(text: str) -> None:
    assert checked_pattern(text).pattern == text


@pytest.mark.parametrize("text", ["(", "a{2", "[z-a]", "(" * 5000, "(?P<n>a)(?P<n>b)", "*"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    if text == "a{2":
        assert checked_pattern(text), "a brace that opens no count is itself"
        return
    with pytest.raises(ValueError, match="is not a regular expression"):
        checked_pattern(text)


def test_a_very_long_one_is_refused_unchecked() -> None:
    assert checked_pattern("a" * 200)
    with pytest.raises(ValueError, match="too long"):
        checked_pattern("|".join("(" * 3 + f"word{number}x" + ")" * 3 for number in range(100)))


@pytest.mark.filterwarnings("ignore:Possible .*set:FutureWarning")
@given(st.text(alphabet="ab|*+?(){}[].,\\w^$2", max_size=25))
def test_every_text_is_accepted_or_refused(text: str) -> None:
    try:
        assert checked_pattern(text).pattern == text
    except ValueError:
        return


SAFE = st.recursive(
    st.sampled_from(["a", "b", ".", "[ab]", r"\w"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)


@given(SAFE, st.sampled_from(["a", "b", "ab", "aab", "abb"]))
def test_what_is_accepted_ends_on_texts_that_make_it_go_back(text: str, again: str) -> None:
    """A wrong answer does not fail here, it hangs; pytest's time limit ends it."""
    try:
        pattern = checked_pattern(text + "c")
    except ValueError:
        return
    assert pattern.search((again * 60)[:60]) is None or "." in text or "w" in text


@pytest.mark.parametrize(
    "rest",
    [
        "extract: '(a+)+$'", "only_if: [{oid: 1.3.6.1.4.1.99999.1, matches: '(a+)+$'}]",
        "where: [{oid: 1.3.6.1.4.1.99999.1, matches: '(a+)+$'}]",
        "absent_if: [{raw: 0, when: [{oid: 1.3.6.1.4.1.99999.1, matches: '(a+)+$'}]}]",
    ],
)  # fmt: skip
def test_a_profile_tells_the_place(rest: str) -> None:
    found = complaint(
        f"readings:\n  - {{quantity: output.load, oid: 1.3.6.1.4.1.99999.2, raw_unit: 1 %, source: X, {rest}}}\n"
    )
    assert re.match(r"box\.yml:7:\d+: `\(a\+\)\+\$` can take without bound", found), found


def test_the_recognition_of_a_profile_tells_the_place() -> None:
    for match in ("sys_descr: '(a+)+$'", "answers: 1.3.6.1.4.1.99999.2, says: '(a+)+$'"):
        text = HEAD.replace("sys_object_id: [1.3.6.1.4.1.99999]", match) + "extends: ups-mib\n"
        with pytest.raises(ConfigError, match=r"box\.yml:5:\d+: `\(a\+\)\+\$` can take without bound"):
            load_profiles([Document("box.yml", text)])


def test_the_inventory_tells_the_place() -> None:
    bound = try_load("matches: '(a+)+$'\nat_least: 1\n", "inventory.yml", Process)
    assert [(one.file, one.line) for one in bound.problems] == [("inventory.yml", 1)]
    assert "can take without bound" in bound.problems[0].message


@pytest.mark.parametrize(
    ("text", "characters"), [("sshd", 65_536), ("java .*jar", 8192), ("^java .*-X.*jar", 8192), ("a.*b.*c", 2048)]
)
def test_the_more_repeats_compete_the_shorter_is_the_text_that_is_searched(text: str, characters: int) -> None:
    assert longest_text(text) == characters


def test_every_shipped_expression_is_accepted() -> None:
    assert len(list(load_profiles())) > 300
