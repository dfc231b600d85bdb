"""The API's model of a person's channel: its robot and its last test."""

from typing import Literal

from pydantic import Field

from watchkeeper.collector.notify.delivery.channel_status import ChannelStatus
from watchkeeper.collector.web.schemas import Schema


class ChannelOut(Schema):
    """A channel of a person. Nothing is sent by a robot whose breaker is open."""

    person: str
    channel: int = Field(description="its place in contacts.yml, from 1")
    via: str
    robot: str = Field(description="the kind and the name of its secret, or its host")
    breaker: Literal["closed", "open", "half-open"]
    tested_at: float | None = Field(description="when it was last tested; null if never")
    test: Literal["pending", "delivered", "given-up"] | None = Field(description="what became of the last test")
    proof: str = Field(description="what is known of it: handed-over, accepted, delivered or read; empty if nothing is")
    detail: str = Field(description="what the channel answered to it")


def channel_out(one: ChannelStatus) -> ChannelOut:
    """A channel with its last test."""
    return ChannelOut.model_validate({
        "person": one.person.person, "channel": one.number + 1, "via": one.address.via.value, "robot": one.robot,
        "breaker": one.breaker.value, "tested_at": one.tested_at, "test": one.test or None, "proof": one.proof,
        "detail": one.detail,
    })  # fmt: skip
