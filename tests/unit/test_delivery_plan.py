"""The rules of delivery that need no store: the breaker, what is known of a robot, and what of a person's messages goes out now."""

from dataclasses import dataclass, replace

import pytest

from watchkeeper.channels.open import _SMS_TIMEOUT_S, _TIMEOUT_S
from watchkeeper.channels.ports import Receipt, Via
from watchkeeper.collector.notify.delivery.breaker import (
    CLOSED,
    FAILURES_TO_OPEN,
    FIRST_OPEN_S,
    LONGEST_OPEN_S,
    BreakerState,
    after_failure,
    state_of,
)
from watchkeeper.collector.notify.delivery.digest import DIGEST_BYTES
from watchkeeper.collector.notify.delivery.plan import (
    CRITICAL_PER_MIN,
    DIGEST_EVERY_S,
    DIGEST_MOST,
    FLOOD_ABOVE,
    LATE_S,
    OTHERS_PER_MIN,
    PAGES_PER_MIN,
    Load,
    Plan,
    plan,
)
from watchkeeper.collector.notify.delivery.robots import (
    CRITICAL_EXTRA,
    MAX_PER_PERSON,
    MAX_PER_ROBOT,
    SLOW_AFTER_S,
    SMS_SLOW_AFTER_S,
    Availability,
    Readiness,
    Robots,
    deadline_of,
    limits_of,
    robot_key,
)
from watchkeeper.collector.notify.delivery.tries import NextTry
from watchkeeper.collector.notify.delivery.tries import after_failure as next_try
from watchkeeper.collector.notify.message.draft import NoticeKind
from watchkeeper.collector.notify.notice import Urgency, urgency_of
from watchkeeper.collector.site.inventory import PersonAddress

NOW = 10_000.0
WEBHOOK = PersonAddress(Via.WEBHOOK, "https://pager.example/a", "key")
KEY = robot_key(WEBHOOK)
FAILED, SENT = Receipt(delivered=False, detail="500"), Receipt(delivered=True, detail="200")
REFUSED = Receipt(delivered=False, detail="404", permanent=True)


# ---- the breaker ----


def test_a_breaker_opens_at_the_third_failure_in_a_row_and_then_lets_one_probe_pass() -> None:
    breaker = CLOSED
    for number in range(FAILURES_TO_OPEN):
        assert state_of(breaker, NOW) is BreakerState.CLOSED, number
        breaker = after_failure(breaker, NOW)
    assert state_of(breaker, NOW) is BreakerState.OPEN
    assert after_failure(breaker, NOW + 1.0) == breaker, "a call that began before"
    pauses = []
    for _ in range(5):
        now, opened_at = breaker.probe_at, breaker.opened_at or 0.0
        pauses.append(now - opened_at)
        assert state_of(breaker, now - 0.1) is BreakerState.OPEN
        assert state_of(breaker, now) is BreakerState.HALF_OPEN
        breaker = after_failure(breaker, now)
        assert state_of(breaker, now) is BreakerState.OPEN, "a failed probe opens it again at once"
    assert pauses == [FIRST_OPEN_S, 10.0, 20.0, LONGEST_OPEN_S, LONGEST_OPEN_S]


# ---- robots ----


def open_breaker(robots: Robots, now: float = NOW) -> None:
    for _ in range(FAILURES_TO_OPEN):
        robots.note(WEBHOOK, FAILED, now)


def test_a_robot_is_left_out_after_failures_and_used_again_after_one_success() -> None:
    robots = Robots()
    open_breaker(robots)
    assert robots.availability(KEY, "ann", None, NOW) == Availability(Readiness.OPEN, NOW + FIRST_OPEN_S)
    later = NOW + FIRST_OPEN_S
    probe = robots.availability(KEY, "ann", None, later)
    assert (probe.readiness, probe.slots, probe.critical_slots) == (Readiness.FREE, 1, 1)
    assert robots.availability(KEY, "bob", None, later, planned=1).readiness is Readiness.OPEN
    robots.begin(WEBHOOK, 1, "ann", later)
    assert robots.availability(KEY, "bob", None, later).readiness is Readiness.OPEN, "one probe at a time"
    assert robots.note(WEBHOOK, SENT, later) is True
    robots.end(WEBHOOK, 1)
    assert robots.availability(KEY, "bob", None, later).readiness is Readiness.FREE
    assert robots.note(WEBHOOK, SENT, later) is False


def test_a_refusal_for_good_does_not_count_against_the_robot() -> None:
    robots = Robots()
    for _ in range(5):
        robots.note(WEBHOOK, REFUSED, NOW)
    assert robots.status(WEBHOOK, NOW).state is BreakerState.CLOSED


def test_a_robot_has_so_many_calls_for_one_person_and_in_all_and_those_that_hang_count() -> None:
    robots = Robots()
    for number in range(MAX_PER_PERSON):
        robots.begin(WEBHOOK, number, "ann", NOW)
    mine = robots.availability(KEY, "ann", None, NOW)
    assert (mine.readiness, mine.slots, mine.critical_slots) == (Readiness.BUSY, 0, CRITICAL_EXTRA)
    assert robots.availability(KEY, "bob", None, NOW).slots == MAX_PER_ROBOT - MAX_PER_PERSON
    assert robots.availability(KEY, "bob", None, NOW, planned=1).slots == MAX_PER_ROBOT - MAX_PER_PERSON - 1
    later = NOW + SLOW_AFTER_S
    assert robots.availability(KEY, "ann", None, later).slots == 0, "a thread that hangs keeps its place"
    assert robots.availability(KEY, "bob", None, later).readiness is Readiness.SLOW
    assert robots.under_way(NOW) == MAX_PER_PERSON
    assert robots.under_way(later) == 0


def test_a_robot_that_answers_others_is_not_slow() -> None:
    robots = Robots()
    robots.begin(WEBHOOK, 1, "ann", NOW)
    robots.note(WEBHOOK, SENT, NOW + 1.0)
    assert robots.availability(KEY, "bob", None, NOW + SLOW_AFTER_S).readiness is Readiness.FREE


def test_retry_after_is_a_wait_and_no_failure() -> None:
    robots = Robots()
    for _ in range(5):
        robots.note(WEBHOOK, replace(FAILED, retry_after_s=30.0), NOW)
    assert robots.availability(KEY, "ann", None, NOW + 29.0) == Availability(Readiness.LIMITED, NOW + 30.0)
    assert robots.availability(KEY, "ann", None, NOW + 30.0).readiness is Readiness.FREE


def test_a_limit_keeps_a_quarter_for_critical_pages_and_digests() -> None:
    robots = Robots()
    for number in range(19):
        robots.begin(WEBHOOK, number, "ann", NOW + number)
        robots.end(WEBHOOK, number)
    one = robots.availability(KEY, "ann", 20, NOW + 19.0)
    assert (one.readiness, one.left, one.singles) == (Readiness.FREE, 1, -4)
    robots.begin(WEBHOOK, 20, "ann", NOW + 19.0)
    robots.end(WEBHOOK, 20)
    assert robots.availability(KEY, "ann", 20, NOW + 20.0) == Availability(Readiness.LIMITED, NOW + 60.0)
    assert robots.availability(KEY, "ann", 20, NOW + 60.5).left == 1


def test_the_lowest_limit_of_a_robot_counts() -> None:
    a, b = replace(WEBHOOK, limit="20/min"), replace(WEBHOOK, limit=" 5 / min")
    assert limits_of([a, b, PersonAddress(Via.CONSOLE)]) == {KEY: 5}
    assert [key for key, _ in replace(WEBHOOK, limit="many").check()] == ["limit"]
    assert list(replace(WEBHOOK, limit="20/min").check()) == []


def test_a_group_robot_has_the_limits_of_its_service_when_its_channel_has_named_it() -> None:
    robots = Robots()
    assert robots.availability(KEY, "ann", None, NOW).singles > 1000
    robots.learn(WEBHOOK, "wecombot")
    one = robots.availability(KEY, "ann", None, NOW)
    assert (one.left, one.singles) == (20, 15)
    robots.learn(WEBHOOK, "")
    assert robots.availability(KEY, "ann", 8, NOW).left == 8, "`limit` comes first"


def test_the_label_of_a_robot_shows_no_url() -> None:
    assert KEY.label == "webhook:key"
    assert robot_key(PersonAddress(Via.CONSOLE)).label == "console"
    robots = Robots()
    other = replace(WEBHOOK, url="https://pager.example/b")
    assert [one.label for one in robots.statuses([WEBHOOK, WEBHOOK, other], NOW)] == ["webhook:key", "webhook:key-2"]


# ---- tries ----


def test_a_critical_page_goes_to_the_next_channel_after_each_failure() -> None:
    at, path = NextTry(0, 0, 0.0), []
    while not at.exhausted:
        at = next_try(at.channel, at.attempts, 2, permanent=False, urgent=True)
        path.append((at.channel, at.wait_s))
    assert path == [(1, 0.0), (0, 2.0), (1, 0.0), (0, 10.0), (1, 0.0), (0, 300.0)]
    first = next_try(0, 0, 2, permanent=True, urgent=True)
    assert next_try(first.channel, first.attempts, 2, permanent=True, urgent=True).exhausted
    assert next_try(0, 0, 1, permanent=False, urgent=True) == NextTry(0, 1, 2.0), "with one channel as any other"


# ---- the plan ----


@dataclass(frozen=True)
class Row:
    urgency: int = Urgency.PAGE
    channel: int = 0
    created_at: float = 0.0
    handed_on: bool = False
    subject: str = "s"


FREE, BUSY = Availability(Readiness.FREE), Availability(Readiness.BUSY, slots=0, critical_slots=2)
OPEN, SLOW = Availability(Readiness.OPEN, NOW + 25.0), Availability(Readiness.SLOW)
LIMITED, LONG = Availability(Readiness.LIMITED, NOW + 9.0), Availability(Readiness.LIMITED, NOW + 600.0)
LINE_BYTES = 12
CRITICAL, PAGE, END = (Row(urgency) for urgency in (Urgency.CRITICAL, Urgency.PAGE, Urgency.END))


def planned(rows: list[Row], *ready: Availability, load: Load = Load(), age_s: float = 0.0) -> Plan:  # noqa: B008 -- frozen
    return plan(rows, ready, lambda _: DIGEST_BYTES, load, NOW, age_s, line_bytes=LINE_BYTES)


def went(found: Plan) -> list[tuple[int, int]]:
    """(channel, how many rows) of each message."""
    return [(one.channel, len(one.rows)) for one in found.sendings]


@pytest.mark.parametrize(
    ("row", "ready", "channel"),
    [
        (PAGE, (FREE, FREE), 0),
        (END, (OPEN, FREE), 1),  # its breaker is open: the next channel
        (PAGE, (SLOW, FREE), 1),
        (END, (SLOW, FREE), 0),  # nobody hurries for the end of a fault
        (PAGE, (SLOW, BUSY), 0),  # there is no better one
        (PAGE, (LIMITED, FREE), 1),
        (END, (LIMITED, FREE), None),
        (END, (LONG, FREE), 1),
        (PAGE, (BUSY, FREE), None),  # a slot is free soon
        (CRITICAL, (BUSY, FREE), 1),
        (CRITICAL, (BUSY,), 0),  # two more than others may have
        (replace(PAGE, channel=1), (FREE, FREE), 1),
        (replace(PAGE, channel=5), (FREE, FREE), 0),
        (PAGE, (LIMITED, LIMITED), None),
    ],
)
def test_a_message_takes_its_channel_or_a_later_one(
    row: Row, ready: tuple[Availability, ...], channel: int | None
) -> None:
    found = planned([row], *ready)
    assert went(found) == ([] if channel is None else [(channel, 1)])
    assert found.blocked == ()


def test_where_every_channel_is_out_the_message_is_blocked_until_the_first_comes_back() -> None:
    assert planned([PAGE], OPEN, replace(OPEN, until=NOW + 7.0)).blocked == ((PAGE, 7.0),)
    late = replace(PAGE, channel=1)
    assert planned([late], FREE, OPEN).blocked == ((late, 25.0),), "the first channel had its tries"
    assert planned([PAGE], LONG).blocked == ((PAGE, 600.0),)
    assert planned([PAGE], LIMITED, age_s=LATE_S + 1.0).blocked == ((PAGE, 9.0),), "it waits too long: the next person"
    assert planned([replace(PAGE, handed_on=True)], LIMITED, age_s=LATE_S + 1.0).blocked == ()


def lately(pages: int = 0, others: int = 0, digest_s_ago: float = 1e9) -> Load:
    return Load((NOW - 1.0,) * pages, (NOW - 1.0,) * others, NOW - digest_s_ago)


def test_what_exceeds_a_minutes_messages_is_joined_in_order() -> None:
    some = [replace(PAGE, subject=f"s{number}") for number in range(FLOOD_ABOVE)]
    found = planned(some, FREE, load=lately(PAGES_PER_MIN - 2))
    assert went(found) == [(0, 1), (0, 1), (0, FLOOD_ABOVE - 2)]
    assert [row.subject for row in found.sendings[-1].rows] == [f"s{number}" for number in range(2, FLOOD_ABOVE)]


def test_many_at_the_same_moment_are_joined_at_once_but_no_critical_page() -> None:
    flood = [CRITICAL, *[PAGE] * (FLOOD_ABOVE + 1)]
    assert went(planned(flood, FREE, load=lately(digest_s_ago=5.0))) == [(0, 1), (0, FLOOD_ABOVE + 1)]
    assert went(planned(flood, FREE, load=lately(digest_s_ago=4.0))) == [(0, 1)]
    assert went(planned([CRITICAL] * 4 + [PAGE] * FLOOD_ABOVE, FREE))[:4] == [(0, 1)] * 4
    assert went(planned([PAGE] * FLOOD_ABOVE, FREE)) == [(0, 1)] * MAX_PER_PERSON


def test_no_page_is_hidden_among_what_is_no_page() -> None:
    ends = [END] * (FLOOD_ABOVE + 1)
    assert went(planned([PAGE, *ends], FREE)) == [(0, 1), (0, FLOOD_ABOVE + 1)], "a page goes alone"
    both = planned([*[PAGE] * (FLOOD_ABOVE + 1), *ends], FREE)
    assert [{row.urgency for row in one.rows} for one in both.sendings] == [{Urgency.PAGE}, {Urgency.END}]
    used_up = planned([PAGE, PAGE, END, END], FREE, load=lately(PAGES_PER_MIN, OTHERS_PER_MIN))
    assert [[row.urgency for row in one.rows] for one in used_up.sendings] == [[Urgency.PAGE] * 2, [Urgency.END] * 2]


def test_critical_pages_are_alone_where_others_are_joined_and_have_a_bound_too() -> None:
    assert went(planned([CRITICAL, PAGE, PAGE], FREE, load=lately(PAGES_PER_MIN))) == [(0, 1), (0, 2)]
    assert went(planned([PAGE, END, END], FREE, load=lately(0, OTHERS_PER_MIN))) == [(0, 1), (0, 2)]
    assert went(planned([END], FREE, load=lately(PAGES_PER_MIN))) == [(0, 1)], "pages do not use up the others' share"
    assert went(planned([CRITICAL, CRITICAL], FREE, load=lately(CRITICAL_PER_MIN))) == [(0, 2)]
    old = Load((NOW - 60.0,) * CRITICAL_PER_MIN, (NOW - 60.0,) * OTHERS_PER_MIN)
    assert went(planned([CRITICAL, END], FREE, load=old)) == [(0, 1), (0, 1)]


def test_a_load_counts_what_went_out_alone_in_the_last_minute() -> None:
    load = Load((NOW - 60.0,), (NOW - 59.0,)).after(Urgency.PAGE, NOW, joined=False)
    assert load == Load((NOW,), (NOW - 59.0,))
    assert load.after(Urgency.END, NOW, joined=False) == Load((NOW,), (NOW - 59.0, NOW))
    assert load.after(Urgency.TEST, NOW, joined=False) == load
    assert load.after(Urgency.PAGE, NOW + 1.0, joined=True) == Load((NOW,), (), NOW + 1.0)


def test_a_digest_waits_for_more_after_one_went_out_unless_it_is_full() -> None:
    full = lately(CRITICAL_PER_MIN, digest_s_ago=4.0)
    assert went(planned([PAGE, PAGE], FREE, load=full)) == []
    assert went(planned([CRITICAL, PAGE], FREE, load=full)) == [], "also a critical page, but not for long"
    assert went(planned([CRITICAL, PAGE], FREE, load=replace(full, digest_at=NOW - 5.0))) == [(0, 2)]
    assert went(planned([PAGE, PAGE], FREE, load=replace(full, digest_at=NOW - DIGEST_EVERY_S))) == [(0, 2)]
    assert went(planned([CRITICAL] * (DIGEST_MOST + 1), FREE, load=full)) == [(0, DIGEST_MOST)]


def test_a_digest_has_no_more_text_than_its_service_takes() -> None:
    rows = [replace(PAGE, subject="温" * 1000) for _ in range(30)]
    found = planned(rows, FREE)
    assert [len(one.rows) for one in found.sendings] == [DIGEST_BYTES // 3012, 30 - DIGEST_BYTES // 3012]
    short = plan([replace(PAGE, subject="x" * 100)] * 20, [FREE], lambda _: 2000, Load(), NOW, 0.0, line_bytes=12)
    assert [len(one.rows) for one in short.sendings] == [17, 3]
    sms = plan([replace(PAGE, subject="x" * 100)] * 20, [FREE], lambda _: 100, Load(), NOW, 0.0, line_bytes=12)
    assert [len(one.rows) for one in sms.sendings] == [1] * MAX_PER_PERSON, "where none fits, each goes alone"


def test_a_limited_robot_keeps_messages_for_critical_pages_and_digests() -> None:
    nearly = replace(FREE, singles=1, left=6)
    assert went(planned([PAGE, PAGE, PAGE], nearly)) == [(0, 1), (0, 2)]
    assert went(planned([CRITICAL], replace(nearly, singles=0))) == [(0, 1)]
    assert went(planned([PAGE, PAGE], replace(nearly, singles=0, left=0))) == []


def test_a_test_goes_by_its_own_channel_and_joins_nothing() -> None:
    test = Row(Urgency.TEST, channel=1)
    full = lately(CRITICAL_PER_MIN, OTHERS_PER_MIN)
    assert went(planned([test], FREE, FREE, load=full)) == [(1, 1)]
    assert went(planned([test, test, *[PAGE] * (FLOOD_ABOVE - 1)], FREE, FREE))[:2] == [(1, 1)] * 2
    assert planned([test], FREE, OPEN) == Plan()
    assert planned([test], FREE, LONG) == Plan()


def test_critical_pages_first_then_other_pages_then_what_is_over_then_tests() -> None:
    kinds = [
        ("test", ""),
        ("recovered", "critical"),
        ("handover", ""),
        ("page", "warning"),
        ("risen", "critical"),
        ("page", "critical"),
    ]
    ordered = sorted(kinds, key=lambda one: urgency_of(*one))
    assert ordered == list(reversed(kinds))


@pytest.mark.parametrize("level", ["critical", "warning"])
def test_a_fault_that_is_back_and_a_question_who_is_on_site_are_as_urgent_as_a_page(level: str) -> None:
    assert urgency_of("returned", level) == urgency_of("on-site", level) == urgency_of("page", level) < Urgency.NOTICE


def test_every_kind_of_notice_has_its_urgency() -> None:
    found = {kind.value: urgency_of(kind, "warning") for kind in NoticeKind}
    assert {kind for kind, urgency in found.items() if urgency < Urgency.NOTICE} == {
        "page", "risen", "returned", "on-site",
    }  # fmt: skip
    assert {kind for kind, urgency in found.items() if urgency is Urgency.NOTICE} == {
        "flapping", "taken-over", "mentioned", "passed",
    }  # fmt: skip
    assert urgency_of("sign-in", "") is Urgency.NOTICE


def test_a_modem_has_more_time_than_other_robots() -> None:
    robots = Robots()
    sms = PersonAddress(Via.SMS, to="+86 138 0000 0001")
    robots.begin(sms, 1, "ann", NOW)
    for wait_s, readiness in ((SLOW_AFTER_S, Readiness.FREE), (SMS_SLOW_AFTER_S, Readiness.SLOW)):
        assert robots.availability(robot_key(sms), "ann", None, NOW + wait_s).readiness is readiness
    assert robot_key(sms) == robot_key(replace(sms, to="+86 138 0000 0002")), "one modem"
    assert robot_key(sms) != robot_key(replace(sms, spool="/srv/other"))
    assert robot_key(sms).label == "sms"
    assert deadline_of(sms) > _SMS_TIMEOUT_S
    assert deadline_of(WEBHOOK) > _TIMEOUT_S
