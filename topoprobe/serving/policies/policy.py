"""What policies are, what they see, and what each axis asks of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

import msgspec

from topoprobe.serving.progress import Progress

UNBOUNDED = 1 << 62
"""The horizon of a policy whose answer only an event can change."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a policy, read from text."""


class View(Protocol):
    """What a policy may look at, and not change: a worker's batch at a step boundary."""

    @property
    def num_blocks(self) -> int:
        """KV blocks of the worker."""

    @property
    def num_spare_blocks(self) -> int:
        """Free blocks beyond those that the decodes take in the coming step."""

    @property
    def num_decodes(self) -> int:
        """Requests that decode."""

    @property
    def running(self) -> dict[int, Progress]:
        """Requests that hold blocks, by id, in the order of their admission."""

    @property
    def prefilling(self) -> dict[int, Progress]:
        """Those of them whose prefill is not complete, in the same order."""


class Step(Protocol):
    """A step that is being composed. Every request that decodes is already part of it."""

    @property
    def batch(self) -> View:
        """Who runs."""

    def num_blocks_for_next(self) -> int | None:
        """Blocks that the next waiting request needs to be prefilled; None if nobody waits."""

    def admit_next(self) -> Progress:
        """Give the next waiting request its blocks, and make it running."""

    def prefill(self, request: Progress, max_tokens: int) -> int:
        """Add a chunk of at most `max_tokens` tokens to the step; return its size."""


class Policy(Protocol):
    """One choice on one axis, built per run; it may hold state of its own.

    Attributes
    ----------
    name : str
        By which it is chosen.
    conflicts : mapping of str to str
        ``axis=name`` of policies that it cannot work with, each with the reason.
    settings_type : type
        What it is built from.
    """

    name: ClassVar[str]
    conflicts: ClassVar[Mapping[str, str]]
    settings_type: ClassVar[type[Settings]]

    @property
    def settings(self) -> Settings:
        """Those it was built with."""

    def horizon(self, view: View) -> int:
        """Return the number of coming steps for which its answer cannot change."""


class Batching(Policy, Protocol):
    """Composes steps."""

    def compose(self, step: Step) -> None:
        """Add chunks of prefill to a step, and admit requests to it."""

    def could_admit(self, view: View, num_blocks: int) -> bool:
        """Tell whether a request that needs `num_blocks` might join at a coming step boundary."""


class Order(Policy, Protocol):
    """Holds the requests that wait."""

    def push(self, request: Progress) -> None:
        """Take in a request that arrived."""

    def push_back(self, request: Progress) -> None:
        """Take back a request that was preempted."""

    def peek(self) -> Progress | None:
        """Return the request that comes next, None if nobody waits."""

    def pop(self) -> Progress:
        """Remove and return the request that comes next."""

    def remove(self, request_id: int) -> Progress | None:
        """Remove a request wherever it stands; None if it does not wait."""


class Victim(Policy, Protocol):
    """Chooses who gives way."""

    def choose(self, view: View) -> Progress:
        """Return one of the running requests, of which there is at least one."""


class Eviction(Policy, Protocol):
    """Decides what becomes of a victim's cache."""

    def evict(self, request: Progress, num_known: int) -> None:
        """Set what a victim has to do when it runs again; it knows `num_known` of its tokens."""
