"""What a probe remembers over a restart, in memory."""


class Notes:
    """Implements `agent.ports.Memory`."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def recall(self, device: str) -> str:
        return self.texts.get(device, "")

    def remember(self, device: str, text: str) -> None:
        self.texts[device] = text
