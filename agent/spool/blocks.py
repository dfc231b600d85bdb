"""The blocks that a spool has declared: their numbers, and which of them the collector knows. The spool locks."""

from collections.abc import Iterable, Mapping

from watchkeeper.agent.spool import records
from watchkeeper.agent.spool.records import Commit
from watchkeeper.model.batch import Block, Facts
from watchkeeper.model.reading import Series


class Blocks:
    """Blocks by number. `new` and `changes` are what is not on the disk yet: (number, device, JSON) of new blocks, and whether
    the collector knows a block."""

    def __init__(self) -> None:
        self.new: list[tuple[int, str, str]] = []
        self.changes: dict[int, bool] = {}
        self._blocks: dict[int, Block] = {}
        self._numbers: dict[str, int] = {}  # a block's JSON -> its number
        self._known: set[int] = set()

    def load(self, number: int, body: str, *, known: bool) -> None:
        """Add a block that is on the disk."""
        self._numbers[body] = number
        self._blocks[number] = records.block_from_json(number, body)
        if known:
            self._known.add(number)

    def declare(self, device: str, probe: str, every_s: float, series: tuple[Series, ...], facts: Facts = ()) -> int:
        """The number of the block with these columns and facts; equal ones have one number."""
        body = records.block_to_json(Block(0, device, probe, every_s, series, facts))
        if body not in self._numbers:
            number = max(self._blocks, default=0) + 1
            self._numbers[body] = number
            self._blocks[number] = Block(number, device, probe, every_s, series, facts)
            self.new.append((number, device, body))
        return self._numbers[body]

    def unknown(self, used: Iterable[int]) -> tuple[Block, ...]:
        """Those among `used` that the collector does not know, in order."""
        return tuple(self._blocks[number] for number in sorted(set(used) - self._known - {0}))

    def mark(self, known: Mapping[int, bool]) -> None:
        """Note whether the collector knows these blocks."""
        self.changes.update(known)
        self._known -= known.keys()
        self._known.update(number for number, is_known in known.items() if is_known)

    def forget_declared(self, numbers: Iterable[int] | None = None) -> None:
        """The collector does not know these blocks (None: any block), or no longer."""
        self.mark(dict.fromkeys(self._blocks if numbers is None else self._blocks.keys() & set(numbers), False))

    def written(self, commit: Commit, kept: set[int] | None) -> None:
        """This is on the disk now. `kept` are the blocks that are still there (None: all)."""
        records.subtract(self.changes, commit.declared)
        del self.new[: len(commit.blocks)]
        if kept is not None:
            kept.update(number for number, _, _ in self.new)
            self._blocks = {number: block for number, block in self._blocks.items() if number in kept}
            self._numbers = {body: number for body, number in self._numbers.items() if number in kept}

    def write_again(self) -> None:
        """The file is empty: all blocks are new to it, and unknown to the collector."""
        self._known.clear()
        self.new = [(number, block.device, records.block_to_json(block)) for number, block in self._blocks.items()]
