"""A small IMAP server on the loopback, for tests: one folder, one user, and some ways to misbehave."""

import re
import socketserver
import threading
from dataclasses import dataclass, field

PASSWORD = "the password of the mailbox"


@dataclass
class Folder:
    """The mails by number, which were marked, and what was said to the server."""

    mails: dict[int, bytes] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    heard: list[str] = field(default_factory=list)
    behaviour: str = ""


class _Session(socketserver.StreamRequestHandler):
    server: "ImapServer"

    def handle(self) -> None:
        folder = self.server.folder
        if folder.behaviour == "silent":
            self.server.released.wait(30)
            return
        self._say("* OK ready" if folder.behaviour != "garbage" else "\x00\x01 what?")
        while line := self.rfile.readline().decode("latin-1").strip():
            folder.heard.append(line)
            tag, _, command = line.partition(" ")
            if not self._answer(tag, command, folder):
                return

    def _answer(self, tag: str, command: str, folder: Folder) -> bool:  # noqa: C901 -- one branch for each command
        word = command.upper()
        if word.startswith("CAPABILITY"):
            self._say("* CAPABILITY IMAP4rev1")
        elif word.startswith("LOGIN"):
            if f'"{PASSWORD}"' not in command:
                self._say(f"{tag} NO {command}")  # repeats the password, as a bad server does
                return True
        elif word.startswith("SELECT"):
            self._say(f"* {len(folder.mails)} EXISTS")
        elif word.startswith("UID SEARCH"):
            self._say("* SEARCH " + " ".join(str(one) for one in sorted(folder.mails.keys() - folder.seen)))
        elif found := re.match(r"UID FETCH (\d+)", word):
            if folder.behaviour == "hangs":
                self.server.released.wait(30)
                return False
            content = folder.mails[int(found[1])]
            self._say(f"* 1 FETCH (UID {found[1]} BODY[]<0> {{{len(content)}}}")
            self.wfile.write(content)
            self._say(")")
        elif found := re.match(r"UID STORE (\d+) \+FLAGS.SILENT \(\\SEEN\)", word):
            if folder.behaviour == "forgets":
                return False
            folder.seen.add(int(found[1]))
        elif word.startswith("LOGOUT"):
            self._say(f"* BYE\r\n{tag} OK done")
            return False
        self._say(f"{tag} OK done")
        return True

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode("latin-1") + b"\r\n")


class ImapServer(socketserver.ThreadingTCPServer):
    """Serves `folder` until it is closed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.folder, self.released = Folder(), threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def close(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()
        self.thread.join(5)
