"""An in-memory stand-in for the receivers of posts: they take everything, and nothing leaves the process."""

from __future__ import annotations

from nurture.notify.carrier import Fate, PostReply
from nurture.notify.channels import PostRequest


class InMemoryCarrier:
    """`kept` holds what was posted, in order."""

    def __init__(self) -> None:
        self.kept: list[PostRequest] = []

    async def carry(self, request: PostRequest) -> PostReply:
        self.kept.append(request)
        return PostReply(fate=Fate.TAKEN, text="rehearsed")

    async def close(self) -> None:
        """Nothing is open."""
