"""Takes the SMS of persons from gammu-smsd's inboxes. A file is moved away only after its answer is committed; one that was moved
too late changes nothing when it is read again."""

import logging
from pathlib import Path

from watchkeeper.channels.ports import Via
from watchkeeper.channels.sms_inbox import Sms, read_inbox, set_aside, usable_inbox
from watchkeeper.collector.policy.replies.senders import person_of_phone
from watchkeeper.collector.process.guarded_clock import machine_of
from watchkeeper.collector.process.replies.answer import UNKNOWN_REPLIES, Incoming, ReplyVia, take_text
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.model.errors import StoreError
from watchkeeper.model.failpoint import failpoint
from watchkeeper.model.plain import printable

log = logging.getLogger(__name__)

_SENDER_SHOWN = 40


class SmsReplies:
    """The inboxes of gammu-smsd that contacts.yml names."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._unusable: set[Path] = set()  # inboxes of which this was logged
        self._stuck: set[str] = set()  # what could not be taken, or not be moved away

    def take(self) -> int:
        """Take every complete SMS. Returns how many. Raises StoreError; what is left is read again."""
        people = self._runtime.snapshot.configuration.contacts.people
        spools = {Path(one.spool) for person in people for one in person.channels if one.via is Via.SMS}
        return sum(self._take_from(spool) for spool in sorted(spools) if self._usable(spool))

    def _usable(self, spool: Path) -> bool:
        usable = usable_inbox(spool)
        if not usable and spool not in self._unusable:
            log.warning("%s cannot be used: let this user read and write there (docs/operators.md)", spool / "inbox")
        (self._unusable.discard if usable else self._unusable.add)(spool)
        return usable

    def _take_from(self, spool: Path) -> int:
        try:
            found = read_inbox(spool, machine_of(self._runtime.clock).wall())  # its files have the machine's time
        except OSError as error:
            log.warning("%s cannot be read: %s", spool / "inbox", error.strerror)
            return 0
        fresh = [one for one in found if one.source not in self._stuck]
        for one in fresh:
            try:
                self._take(one)
                failpoint("collector.reply.committed")
                set_aside(one)
            except OSError as error:
                self._stuck.add(one.source)
                log.warning("%s cannot be moved to the folder `read`: %s", one.files[0], error.strerror)
            except StoreError:
                raise
            except Exception:  # one SMS must not keep the others waiting
                self._stuck.add(one.source)
                log.exception("%s could not be taken; it is tried again when the collector is restarted", one.files[0])
        return len(fresh)

    def _take(self, sms: Sms) -> None:
        runtime = self._runtime
        person = person_of_phone(runtime.snapshot.configuration.contacts.people, sms.sender)
        if person is None:
            log.warning(
                "an SMS from %s is ignored: the number is not that of exactly one person in contacts.yml",
                printable(sms.sender)[:_SENDER_SHOWN],
            )
            with runtime.store.write() as connection:
                runtime.store.add_to_counters(connection, {UNKNOWN_REPLIES + "sms": 1})
            return
        incoming = Incoming(ReplyVia.SMS, sms.source, person)
        result = take_text(runtime.notifier(), incoming, sms.text, runtime.clock.wall())
        log.info("an SMS of %s about trouble %d: %s", person.person, result.trouble, result.outcome.value)
