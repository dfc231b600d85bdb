"""Mail, SMS gateways, WeCom, DingTalk, Feishu and a hundred others, by the library Apprise. An Apprise URL is a secret
as a whole: most services keep their token in it."""

import logging
import re
from typing import Any
from urllib.parse import unquote

import apprise

from watchkeeper.channels.ports import Message, Receipt
from watchkeeper.documents.secrets import Secret

_DETAIL_LIMIT = 300
_NO_SECRET = 2


class AppriseChannel:
    """One service of one person. Apprise tells only yes, no or too late, so a refusal may always be tried again; only a
    URL that it cannot read is permanent."""

    def __init__(self, url: Secret, timeout_s: float) -> None:
        _keep_quiet()
        self._url = url
        self._timeout_s = timeout_s
        # A redirected POST becomes a GET, and its 200 would pass for a delivery.
        asset = apprise.AppriseAsset(app_id="Watchkeeper", http_redirects=False)
        service = apprise.Apprise.instantiate(url.reveal(), asset=asset)
        self._to = apprise.Apprise(asset=asset)
        if service is not None:
            # Only so that its thread ends soon: `send` gives up before, and says so better than Apprise would.
            service.socket_connect_timeout = service.socket_read_timeout = timeout_s + 1
            self._to.add(service)

    def send(self, message: Message) -> Receipt:
        """See `Channel.send`. `timeout_s` bounds the whole call; Apprise may still finish in the background after it."""
        if not self._to:
            return Receipt(delivered=False, detail="Apprise cannot read the URL in this secret", permanent=True)
        result = self._to.notify(
            title=message.subject,
            body=message.text or message.subject,
            body_format=apprise.NotifyFormat.TEXT,
            timeout=self._timeout_s,
        )
        with result:
            name = self._to[0].service_name
            # Not bool(result): a URL may call its service optional, and then a failure counts as a success there.
            if any(attempt for service in result for attempt in service):
                return Receipt(delivered=True, detail=f"{name} took it")
            return Receipt(delivered=False, detail=f"{name}: {self._reason(result)}")

    def _reason(self, result: Any) -> str:
        if result.status is apprise.AppriseResultStatus.TIMEOUT:
            return f"no answer within {self._timeout_s:g} s"
        said = " ".join(entry.message for entry in result.logs()) or "the service did not take it"
        return _without_secrets(said, self._url.reveal())[:_DETAIL_LIMIT]


def _without_secrets(text: str, url: str) -> str:
    """The text without any word of the URL after its schema, as written or percent-decoded; two letters are no secret."""
    words = re.split(r"[/:@?&=+,#\s]+", url.partition("://")[2])
    secret = sorted(
        {form for word in words for form in (word, unquote(word)) if len(form) > _NO_SECRET}, key=len, reverse=True
    )
    return re.sub("|".join(map(re.escape, secret)), "***", text) if secret else text


def _keep_quiet() -> None:
    """Apprise's warnings come back in the receipt, cleaned; nothing else of it may reach a log, nor the URLs urllib3
    notes at DEBUG."""
    theirs = logging.getLogger("apprise")
    theirs.propagate = False
    theirs.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.INFO)
