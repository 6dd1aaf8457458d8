"""The policies there are, by axis, and how a choice among them is read, checked and built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from topoprobe.errors import UsageError
from topoprobe.records.run import PolicyChoice
from topoprobe.serving.policies.batching.chunked import Chunked
from topoprobe.serving.policies.eviction.recompute import Recompute
from topoprobe.serving.policies.order.fcfs import Fcfs
from topoprobe.serving.policies.policy import Batching, Eviction, Order, Policy, Settings, Victim
from topoprobe.serving.policies.victim.newest import Newest

Registry = Mapping[str, tuple[type[Policy], ...]]

REGISTRY: Registry = {
    "batching": (Chunked,),
    "order": (Fcfs,),
    "victim": (Newest,),
    "eviction": (Recompute,),
}
"""Every policy, by axis; the first of an axis is the one in use unless another is chosen."""


@dataclass(frozen=True, slots=True)
class Policies:
    """One policy per axis, and the choices that they were built from."""

    batching: Batching
    order: Order
    victim: Victim
    eviction: Eviction
    choices: tuple[PolicyChoice, ...]


def parse_choice(text: str) -> PolicyChoice:
    """Read ``axis=name`` or ``axis=name:key=value,key=value``.

    Raises
    ------
    UsageError
        If the text has another form.
    """
    choice, _, settings_text = text.partition(":")
    axis, has_name, name = choice.partition("=")
    settings = {}
    for pair in settings_text.split(",") if settings_text else ():
        key, has_value, value = pair.partition("=")
        if not (key.strip() and has_value and value.strip()):
            raise UsageError(f"{pair!r} in policy {text!r} is no setting; write key=value.")
        settings[key.strip()] = value.strip()
    if not (axis.strip() and has_name and name.strip()):
        raise UsageError(f"{text!r} is no policy; write axis=name or axis=name:key=value,…")
    return PolicyChoice(axis=axis.strip(), name=name.strip(), settings=settings)


def build_policies(choices: Iterable[PolicyChoice] = ()) -> Policies:
    """Build one policy per axis: those chosen, and the first of every other axis.

    Raises
    ------
    UsageError
        If a choice is unknown, made twice, has settings that it does not know or that make no
        sense, or conflicts with another.
    """
    chosen = complete(choices, REGISTRY)
    built = {choice.axis: _build(choice, REGISTRY) for choice in chosen}
    return Policies(
        batching=cast("Batching", built["batching"]),
        order=cast("Order", built["order"]),
        victim=cast("Victim", built["victim"]),
        eviction=cast("Eviction", built["eviction"]),
        choices=tuple(
            msgspec.structs.replace(choice, settings=_settings_text(built[choice.axis]))
            for choice in chosen
        ),
    )


def complete(choices: Iterable[PolicyChoice], registry: Registry) -> tuple[PolicyChoice, ...]:
    """Return one choice per axis of `registry`, in its order, and refuse what cannot be.

    Raises
    ------
    UsageError
        If an axis or name is unknown, an axis is chosen twice, or two choices conflict.
    """
    by_axis: dict[str, PolicyChoice] = {}
    for choice in choices:
        if choice.axis not in registry:
            raise UsageError(
                f"There is no policy axis {choice.axis!r}; expected one of {', '.join(registry)}."
            )
        if choice.axis in by_axis:
            raise UsageError(f"The axis {choice.axis} is chosen twice; choose one policy for it.")
        by_axis[choice.axis] = choice
    complete_choices = tuple(
        by_axis.get(axis) or PolicyChoice(axis=axis, name=types[0].name)
        for axis, types in registry.items()
    )
    names = {f"{choice.axis}={choice.name}" for choice in complete_choices}
    for choice in complete_choices:
        conflicts = _find(choice, registry).conflicts
        for other in sorted(names & conflicts.keys()):
            raise UsageError(
                f"{choice.axis}={choice.name} cannot work with {other}: {conflicts[other]}."
            )
    return complete_choices


def _find(choice: PolicyChoice, registry: Registry) -> type[Policy]:
    for policy_type in registry[choice.axis]:
        if policy_type.name == choice.name:
            return policy_type
    known = ", ".join(policy_type.name for policy_type in registry[choice.axis])
    raise UsageError(f"There is no {choice.axis} policy {choice.name!r}; expected one of {known}.")


def _build(choice: PolicyChoice, registry: Registry) -> Policy:
    policy_type = cast("Any", _find(choice, registry))
    known: type[Settings] = policy_type.settings_type
    try:
        settings = msgspec.convert(choice.settings, known, strict=False)
    except msgspec.ValidationError as error:
        names = ", ".join(known.__struct_fields__) or "none"
        raise UsageError(
            f"{choice.axis}={choice.name} does not take these settings ({error}); "
            f"its settings are: {names}."
        ) from error
    return cast("Policy", policy_type(settings))


def _settings_text(policy: Policy) -> dict[str, str]:
    """Write every setting of a policy as text, so that a document tells the defaults too."""
    settings = msgspec.to_builtins(policy.settings)
    return {key: str(value) for key, value in settings.items()}
