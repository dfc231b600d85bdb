"""Mail, SMS gateways, WeCom, DingTalk, Feishu and a hundred other services, by the library Apprise. The whole Apprise
URL is a secret: most services have their token in it. `model.logs` keeps Apprise's own log lines, which show it, out of
the log."""

import re
from typing import Any
from urllib.parse import unquote

import apprise

from watchkeeper.channels.ports import Message, Receipt
from watchkeeper.documents.secrets import Secret

_DETAIL_LIMIT = 300
_TOO_SHORT_FOR_A_SECRET = 2


class AppriseChannel:
    """One service of one person. Apprise reports only success, failure or timeout, so every failure may be tried again.
    Only a URL that Apprise cannot read is a permanent failure."""

    def __init__(self, url: Secret, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        # A redirected POST becomes a GET, and its 200 would count as a delivery
        asset = apprise.AppriseAsset(app_id="Watchkeeper", http_redirects=False)
        service = apprise.Apprise.instantiate(url.reveal(), asset=asset)
        self._to = apprise.Apprise(asset=asset)
        if service is not None:
            # Ends Apprise's thread soon after `send` has given up at its own, shorter timeout
            service.socket_connect_timeout = service.socket_read_timeout = timeout_s + 1
            self._to.add(service)

    def send(self, message: Message) -> Receipt:
        """Implements `Channel.send`. `timeout_s` limits the whole call; Apprise may still finish later in the
        background."""
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
            # Not bool(result): for a service that the URL calls optional, Apprise counts a failure as success
            if any(attempt for service in result for attempt in service):
                return Receipt(delivered=True, detail=f"{name} accepted it")
            return Receipt(delivered=False, detail=f"{name}: {self._reason(result)}")

    def _reason(self, result: Any) -> str:
        if result.status is apprise.AppriseResultStatus.TIMEOUT:
            return f"no answer within {self._timeout_s:g} s"
        text = " ".join(entry.message for entry in result.logs()) or "the service did not accept it"
        return _without_secrets(text, self._url.reveal())[:_DETAIL_LIMIT]


def _without_secrets(text: str, url: str) -> str:
    """The text with every word of the URL after its schema replaced, as written or percent-decoded. Words of two
    letters or less are no secret."""
    words = re.split(r"[/:@?&=+,#\s]+", url.partition("://")[2])
    forms = {form for word in words for form in (word, unquote(word)) if len(form) > _TOO_SHORT_FOR_A_SECRET}
    secrets = sorted(forms, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, secrets)), "***", text) if secrets else text
