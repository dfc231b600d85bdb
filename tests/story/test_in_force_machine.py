"""Edits, starts, stops, kills and turns of two collectors with a folder each, in any sequence."""

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.collector_room import _empty_store
from tests.story.in_force_play import ACTS, Step, play

STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(set(ACTS))), st.sampled_from("ab"), st.integers(0, 7)), min_size=3, max_size=25
)


@settings(max_examples=40, derandomize=True)
@given(STEPS)
@example([("start", "a", 0), ("start", "b", 0), ("edit", "a", 3), ("edit", "b", 5), ("turn", "a", 1), ("turn", "b", 1)])
@example([("start", "a", 0), ("fault", "a", 0), ("edit", "b", 4), ("start", "b", 0), ("turn", "b", 1)])
def test_one_configuration_is_in_force_and_no_edit_is_lost_in_silence(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "collector.db")
        store.write_bytes(_empty_store())
        harm, _ = play(f"sqlite:///{store}", Path(folder), steps)
    assert harm == []
