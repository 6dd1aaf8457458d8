from __future__ import annotations

import pytest

from topoprobe.errors import UsageError
from topoprobe.records.run import PolicyChoice
from topoprobe.serving.policies.batching.chunked import Chunked
from topoprobe.serving.policies.order.fcfs import Fcfs
from topoprobe.serving.policies.registry import build_policies, complete, parse_choice


def test_parse_choice_reads_axis_name_and_settings() -> None:
    choice = parse_choice("batching=chunked: budget=256 ,seats=8")
    assert choice == PolicyChoice(
        axis="batching", name="chunked", settings={"budget": "256", "seats": "8"}
    )


@pytest.mark.parametrize("text", ["", "fcfs", "=fcfs", "order=", "order=fcfs:x", "order=fcfs:=1"])
def test_parse_choice_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write"):
        parse_choice(text)


def test_build_uses_the_first_policy_of_an_axis_that_is_not_chosen() -> None:
    policies = build_policies([parse_choice("batching=chunked:budget=300")])
    assert [f"{each.axis}={each.name}" for each in policies.choices] == [
        "batching=chunked", "order=fcfs", "victim=newest", "eviction=recompute",
    ]  # fmt: skip
    assert policies.choices[0].settings == {"budget": "300", "seats": "128", "reserve": "0.01"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weather=rain", "no policy axis 'weather'; expected one of batching"),
        ("order=lifo", "no order policy 'lifo'; expected one of fcfs"),
        ("batching=chunked:size=3", "its settings are: budget, seats, reserve"),
        ("batching=chunked:budget=many", "its settings are"),
        ("order=fcfs:x=1", "its settings are: none"),
        ("batching=chunked:seats=0", "seats=0 runs nobody"),
        ("batching=chunked:budget=4,seats=8", "cannot hold one token of each"),
        ("batching=chunked:reserve=1", "reserve=1.0 is no share"),
    ],
)
def test_build_what_is_unknown_or_senseless_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_policies([parse_choice(text)])


def test_build_axis_chosen_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="order is chosen twice"):
        build_policies([parse_choice("order=fcfs"), parse_choice("order=fcfs")])


def test_conflicting_policies_are_refused_with_the_reason() -> None:
    class Solitary(Fcfs):
        name = "solitary"
        conflicts = {"batching=chunked": "it runs one request at a time"}  # noqa: RUF012

    registry = {"batching": (Chunked,), "order": (Solitary,)}
    with pytest.raises(UsageError, match=r"order=solitary cannot .*: it runs one request"):
        complete([], registry)
