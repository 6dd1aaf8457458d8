from __future__ import annotations

from topoprobe.serving.events import RequestSpec
from topoprobe.serving.policies.order.fcfs import Fcfs
from topoprobe.serving.policies.policy import Settings
from topoprobe.serving.progress import Progress


def make(request_id: int) -> Progress:
    spec = RequestSpec(request_id=request_id, num_prompt_tokens=1, max_tokens=1)
    return Progress(spec)


def test_fcfs_serves_in_the_order_of_arrival() -> None:
    order = Fcfs(Settings())
    requests = [make(each) for each in (3, 1, 2)]
    for each in requests:
        order.push(each)
    assert order.peek() is requests[0]
    assert [order.pop() for _ in requests] == requests
    assert order.peek() is None


def test_fcfs_puts_who_was_preempted_first() -> None:
    order = Fcfs(Settings())
    order.push(make(5))
    order.push_back(make(2))  # victims come newest first
    order.push_back(make(1))
    assert [order.pop().spec.request_id for _ in range(3)] == [1, 2, 5]


def test_fcfs_removes_from_anywhere() -> None:
    order = Fcfs(Settings())
    requests = [make(each) for each in range(3)]
    for each in requests:
        order.push(each)
    assert order.remove(1) is requests[1]
    assert order.remove(1) is None
    assert [order.pop().spec.request_id for _ in range(2)] == [0, 2]
