"""What the agent remembers of the collector's store, so that it notices one that was set back, emptied or swapped."""

import json
from dataclasses import dataclass

from watchkeeper.model.batch import Answer, Lane


@dataclass(frozen=True, slots=True)
class KnownStore:
    """The identity of the store (empty: none is known) and the highest generation that was seen of it."""

    identity: str = ""
    generation: int = 0

    def after(self, answer: Answer) -> "KnownStore":
        """What is known after an answer: one that tells no store changes nothing."""
        if not answer.store or (answer.store == self.identity and answer.generation <= self.generation):
            return self
        return KnownStore(answer.store, answer.generation)

    def doubt(self, answer: Answer, settled: int) -> str:
        """Why the collector no longer has what it had; empty if it does. `settled` is the seq up to which it has answered this
        lane before."""
        if answer.store and self.identity and answer.store != self.identity:
            return "its store is another one"
        if answer.store and answer.generation < self.generation:
            return f"its store is of generation {answer.generation}, and was of {self.generation} before"
        if answer.lane is Lane.EVENTS and answer.through < settled:
            return f"it has events up to {answer.through}, and had them up to {settled}"
        return ""


def to_note(known: KnownStore) -> str:
    """As a note of the spool."""
    return json.dumps({"identity": known.identity, "generation": known.generation})


def from_note(text: str) -> KnownStore:
    """The inverse of `to_note`; nothing is known where the note cannot be read."""
    try:
        body = json.loads(text)
        return KnownStore(str(body["identity"]), int(body["generation"]))
    except (ValueError, KeyError, TypeError):
        return KnownStore()
