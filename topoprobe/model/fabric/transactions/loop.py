"""The event loop: integers in, integers out, in the part of Python that compiles as it stands.

Servers are resources. Each picks among its ports, takes the first packet of one of the port's
queues, is busy for the packet's service time, and hands it to the queue of its next server, where
it arrives after the latency. A server sends nothing that the queue beyond has no credit for;
credit comes back when the packet has left that queue, after the latency.

A port is where one kind of packet comes from one resource, with a buffer of its own. It has one
queue for each way on, so that a packet that waits for credit holds up none that goes elsewhere.
The queues share the buffer, of which each has a part that the others cannot take.

Arbiters compare one number per port. The fair ones keep a virtual time, by which a port advances
with each packet by its cost over the port's weight: costs of 1 give round robin, wire bytes the
byte-fair shares of deficit round robin [goyal1997]. A port that had nothing to send resumes at the
time of the one last served, one that had no credit as far from it as it was. The other arbiters
serve what arrived first.

What credit is scarce for is a *place*: a server beyond that is used up, however far, by one way.
Lack of credit tells it upstream. A port has a virtual time for each place that its packets go on
to, its *claim*, which all that it sends there advance. Among packets that wait for credit of one
place claims decide: else a port that also sends elsewhere, and so has had many turns, would never
see any. And nobody gets ahead, at a place that is used up, of a claim that lacks credit there:
queues for unlike destinations have credit of their own, so that some could. A claim is owed one
packet at most, since one that is further behind is held up elsewhere.

It is one function, over lists as over arrays, because a compiler of functions takes it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple, TypeAlias

NEVER = 2**62
"""Later than any time, in femtoseconds."""
SCARCE = 4
"""Credit that nobody lacked for more packets than that is not scarce any more."""
BURST = 16
"""Transactions that a stream with a cap may issue at once after it was held up."""
# A port has nothing to send, or only what has no credit, or something to send.
IDLE, BLOCKED, READY = 0, 1, 2


class Plan(NamedTuple):
    """What is to be simulated; times in femtoseconds, indices into each other.

    Stages are hops of streams, all streams in a row. A *form* is one packet of one stage: those of
    a stage begin at ``stage_form``; requests have the first only.
    """

    stream_stage: Sequence[int]  # its first; one more at the end
    stream_turn: Sequence[int]  # its first stage with payload
    stream_num_packets: Sequence[int]
    stream_max_open: Sequence[int]
    stream_is_shown: Sequence[int]  # 1: the next is issued once this one left its first queue
    stream_gap: Sequence[int]  # between transactions, at least, but for bursts
    stream_start: Sequence[int]
    stream_left: Sequence[int]  # transactions to issue
    stage_stream: Sequence[int]
    stage_queue: Sequence[int]
    stage_form: Sequence[int]
    stage_latency: Sequence[int]
    form_service: Sequence[int]
    form_cost: Sequence[float]
    form_bytes: Sequence[int]  # of buffer
    form_queue: Sequence[int]
    queue_port: Sequence[int]
    queue_beyond: Sequence[int]  # the next that its packets go to, -1 for none
    queue_way: Sequence[int]  # where its claims begin, nearest place first; one more at the end
    queue_own: Sequence[int]  # bytes of buffer that no other queue can take
    queue_most: Sequence[int]  # bytes that come at once, at most
    way_claim: Sequence[int]  # one for those of a port that go on to one place
    claim_place: Sequence[int]
    place_server: Sequence[int]  # what is used up there, if anything
    port_queue: Sequence[int]  # its first; one more at the end
    port_common: Sequence[int]  # bytes of buffer that its queues share besides their own
    port_upstream: Sequence[int]  # the server that waits for its credit, -1 for none
    port_latency: Sequence[int]  # of credit on its way back
    port_server: Sequence[int]
    port_share: Sequence[float]  # 1 / weight
    server_port: Sequence[int]  # its first; one more at the end
    server_is_fair: Sequence[int]


class Counts(NamedTuple):
    """What happened; "counted" is what was delivered in the window."""

    form_counted: Sequence[int]  # packets, by form of the stream's last stage
    stream_issued: Sequence[int]
    stream_entered: Sequence[int]  # transactions issued in the window
    stream_finished: Sequence[int]  # transactions
    stream_counted: Sequence[int]  # transactions
    stream_latency: Sequence[float]  # summed over the counted, from issue to last packet
    stream_last: Sequence[int]  # time of the last delivery
    server_busy: Sequence[int]  # time in the window
    queue_peak: Sequence[int]  # bytes in use
    port_peak: Sequence[int]  # bytes in use of what its queues share
    queue_left: Sequence[int]  # bytes in use at the end


Loop: TypeAlias = Callable[[Plan, int, int], Counts]


def run(plan: Plan, begin: int, end: int) -> Counts:
    """Simulate from 0 to `end` and count from `begin`."""
    (
        stream_stage, stream_turn, stream_num_packets, stream_max_open, stream_is_shown,
        stream_gap, stream_start, stream_left, stage_stream, stage_queue, stage_form,
        stage_latency, form_service, form_cost, form_bytes, form_queue, queue_port, queue_beyond,
        queue_way, queue_own, queue_most, way_claim, claim_place, place_server, port_queue,
        port_common, port_upstream, port_latency, port_server, port_share, server_port,
        server_is_fair,
    ) = plan  # fmt: skip
    num_streams, num_servers = len(stream_start), len(server_is_fair)
    num_queues, num_ports = len(queue_port), len(port_server)
    num_claims, num_places = len(claim_place), len(place_server)

    form_counted = [0] * len(form_service)
    issued, finished, counted = [0] * num_streams, [0] * num_streams, [0] * num_streams
    latency_sum, last_delivery = [0.0] * num_streams, [0] * num_streams
    entered = [0] * num_streams
    next_issue = [start + gap for start, gap in zip(stream_start, stream_gap)]  # noqa: B905
    queue_head, queue_tail = [-1] * num_queues, [-1] * num_queues
    queue_used, queue_peak = [0] * num_queues, [0] * num_queues
    queue_state, queue_granted = [IDLE] * num_queues, [NEVER] * num_queues
    queue_lacks = [0] * num_queues  # places beyond it to the one that its credit is scarce for
    claim_time, claim_waiting = [0.0] * num_claims, [0] * num_claims
    place_time, place_least = [0.0] * num_places, [0.0] * num_places
    place_look, look = [0] * num_places, 0  # the look that found the least claim
    port_used, port_peak = [0] * num_ports, [0] * num_ports
    port_time, port_state = [0.0] * num_ports, [IDLE] * num_ports
    server_time, server_busy = [0.0] * num_servers, [0] * num_servers
    free_at, wake_at = [0] * num_servers, [NEVER] * num_servers
    num_waiting, is_blocked = [0] * num_servers, [IDLE] * num_servers

    # Packets under way, one slot each; a free one names the next free one.
    slot_stage, slot_form, slot_arrival, slot_issue, slot_next = [0], [0], [0], [0], [-1]
    free_slot = 0

    # An event is a time and a code: a server's number wakes it. Below zero, and so before servers
    # that wake at the same time, are streams that issue and then forms whose credit is back.
    events = [(stream_start[stream], -1 - stream) for stream in range(num_streams)]
    heapify(events)
    while events:
        now, code = heappop(events)
        if now >= end:
            break
        if code < -num_streams:
            form = -1 - num_streams - code
            queue = form_queue[form]
            entry = queue_port[queue]
            queue_used[queue] -= form_bytes[form]
            above = queue_used[queue] + form_bytes[form] - queue_own[queue]
            if above > 0:
                port_used[entry] -= min(above, form_bytes[form])
            server = port_upstream[entry]
            if is_blocked[server] != BLOCKED:
                continue
            stage, packet, num_packets, arrival, issue = 0, 0, 0, now, now
        elif code < 0:
            stream = -1 - code
            if issued[stream] == stream_left[stream]:
                continue
            issued[stream] += 1
            if now >= begin:
                entered[stream] += 1
            if issued[stream] < stream_max_open[stream]:
                heappush(events, (max(now, next_issue[stream]), code))
                late = now - BURST * stream_gap[stream]
                next_issue[stream] = max(next_issue[stream], late) + stream_gap[stream]
            stage, packet, arrival, issue = stream_stage[stream], 0, now, now
            num_packets = 1 if stage < stream_turn[stream] else stream_num_packets[stream]
            queue = stage_queue[stage]
            entry = queue_port[queue]
            server = port_server[entry]
        else:
            server = code
            if wake_at[server] != now:
                continue  # it was woken earlier than this event foresaw
            wake_at[server] = NEVER

            # Who has something to send, and who has no credit for it, because of which place.
            is_fair = server_is_fair[server]
            first_queue = port_queue[server_port[server]]
            last_queue = port_queue[server_port[server + 1]]
            next_arrival, blocked = NEVER, IDLE
            look += 1
            for queue in range(first_queue, last_queue):
                slot = queue_head[queue]
                arrival = NEVER if slot < 0 else slot_arrival[slot]
                if arrival > now:
                    next_arrival = min(next_arrival, arrival)
                    if queue_state[queue] != IDLE:
                        queue_state[queue] = IDLE
                        for way in range(queue_way[queue], queue_way[queue + 1]):
                            claim_waiting[way_claim[way]] -= 1
                    continue
                if queue_state[queue] == IDLE:
                    for way in range(queue_way[queue], queue_way[queue + 1]):
                        claim = way_claim[way]
                        if claim_waiting[claim] == 0:
                            resumed = place_time[claim_place[claim]]
                            claim_time[claim] = max(claim_time[claim], resumed)
                        claim_waiting[claim] += 1
                queue_state[queue] = READY
                beyond = queue_beyond[queue]
                if beyond < 0:
                    continue
                entry, most = queue_port[beyond], queue_most[beyond]
                if (
                    queue_used[beyond] + most <= queue_own[beyond]
                    or port_used[entry] + most <= port_common[entry]
                ):
                    continue
                queue_state[queue] = blocked = BLOCKED
                onward = queue_beyond[beyond]
                is_next = onward < 0 or queue_granted[onward] > SCARCE
                queue_lacks[beyond] = 0 if is_next else queue_lacks[onward] + 1
                queue_granted[beyond] = 0
                way = queue_way[queue] + queue_lacks[beyond]
                if way < queue_way[queue + 1]:
                    claim = way_claim[way]
                    place = claim_place[claim]
                    owed = form_cost[slot_form[slot]] * port_share[queue_port[queue]]
                    claim_time[claim] = max(claim_time[claim], place_time[place] - owed)
                    if place_look[place] != look or claim_time[claim] < place_least[place]:
                        place_look[place], place_least[place] = look, claim_time[claim]

            # Who would get ahead of them there waits too, as long as that place is used up.
            retry = NEVER
            if is_fair and blocked == BLOCKED:
                for queue in range(first_queue, last_queue):
                    if queue_state[queue] != READY:
                        continue
                    for way in range(queue_way[queue], queue_way[queue + 1]):
                        place = claim_place[way_claim[way]]
                        free = free_at[place_server[place]]
                        is_ahead = claim_time[way_claim[way]] > place_least[place]
                        if is_ahead and place_look[place] == look and free >= now:
                            retry = min(retry, free + 1)
                            queue_state[queue] = BLOCKED
                            queue_lacks[queue_beyond[queue]] = way - queue_way[queue]
                            queue_granted[queue_beyond[queue]] = 0
                            break

            # Which port is next, and of its packets with credit the one that arrived first.
            chosen, least = -1, 0.0
            for port in range(server_port[server], server_port[server + 1]):
                first, first_arrival, state = -1, NEVER, IDLE
                for queue in range(port_queue[port], port_queue[port + 1]):
                    if queue_state[queue] == IDLE:
                        continue
                    if state == IDLE:
                        state = BLOCKED
                    arrival = slot_arrival[queue_head[queue]]
                    if queue_state[queue] == READY and arrival < first_arrival:
                        first, first_arrival = queue, arrival
                if first >= 0:
                    state = READY
                if state != IDLE and port_state[port] == IDLE:
                    port_time[port] = max(port_time[port], server_time[server])
                port_state[port] = state
                if first < 0:
                    continue
                key = port_time[port] if is_fair else float(first_arrival)
                if chosen < 0 or key < least:
                    chosen, least = first, key
            is_blocked[server] = blocked
            if chosen < 0:
                next_arrival = min(next_arrival, retry)
                if next_arrival < NEVER:
                    wake_at[server] = next_arrival
                    heappush(events, (next_arrival, server))
                continue

            # Credit that is scarce goes round among those who wait for it.
            beyond = queue_beyond[chosen]
            if beyond >= 0:
                way = queue_way[chosen] + queue_lacks[beyond]
                if is_fair and queue_granted[beyond] <= SCARCE and way < queue_way[chosen + 1]:
                    claim = way_claim[way]
                    place = claim_place[claim]
                    for queue in range(first_queue, last_queue):
                        other = queue_beyond[queue]
                        if queue_state[queue] != READY or other < 0:
                            continue
                        way = queue_way[queue] + queue_lacks[other]
                        if queue_granted[other] > SCARCE or way >= queue_way[queue + 1]:
                            continue
                        if claim_place[way_claim[way]] != place:
                            continue
                        ahead = claim_time[claim] - claim_time[way_claim[way]]
                        is_older = (
                            slot_arrival[queue_head[queue]] < slot_arrival[queue_head[chosen]]
                        )
                        if ahead > 0.0 or (ahead == 0.0 and is_older):
                            chosen, claim = queue, way_claim[way]
                queue_granted[queue_beyond[chosen]] += 1
                cost = form_cost[slot_form[queue_head[chosen]]] * port_share[queue_port[chosen]]
                for way in range(queue_way[chosen], queue_way[chosen + 1]):
                    claim = way_claim[way]
                    place = claim_place[claim]
                    place_time[place] = max(place_time[place], claim_time[claim])
                    claim_time[claim] += cost

            # Take its packet, keep the server busy, give back the credit.
            slot = queue_head[chosen]
            queue_head[chosen] = slot_next[slot]
            slot_next[slot] = free_slot
            free_slot = slot
            stage, form, issue = slot_stage[slot], slot_form[slot], slot_issue[slot]
            stream, packet = stage_stream[stage], form - stage_form[stage]
            port = queue_port[chosen]
            ahead = least - server_time[server]
            if is_fair and ahead > 0.0:
                server_time[server] = least
                if blocked == BLOCKED:
                    for other in range(server_port[server], server_port[server + 1]):
                        if port_state[other] == BLOCKED:
                            port_time[other] += ahead
            port_time[port] += form_cost[form] * port_share[port]
            done = now + form_service[form]
            arrival = done + stage_latency[stage]
            free_at[server] = done
            server_busy[server] += max(0, min(done, end) - max(now, begin))
            num_waiting[server] -= 1
            if num_waiting[server] > 0:
                wake_at[server] = done
                heappush(events, (done, server))
            if port_upstream[port] >= 0:
                heappush(events, (done + port_latency[port], -1 - num_streams - form))

            # What that means for its stream: another transaction may be issued, or one has ended.
            is_last = stage < stream_turn[stream] or packet == stream_num_packets[stream] - 1
            is_delivered = stage + 1 == stream_stage[stream + 1]
            if is_delivered:
                last_delivery[stream] = arrival
                if begin <= arrival < end:
                    form_counted[form] += 1
                if is_last:
                    finished[stream] += 1
                    if begin <= arrival < end:
                        counted[stream] += 1
                        latency_sum[stream] += float(arrival - issue)
            if is_last:
                at = -1
                if not stream_is_shown[stream] and is_delivered:
                    at = arrival
                elif stream_is_shown[stream] and stage == stream_stage[stream]:
                    at = now
                if at >= 0:
                    heappush(events, (max(at, next_issue[stream]), -1 - stream))
                    late = at - BURST * stream_gap[stream]
                    next_issue[stream] = max(next_issue[stream], late) + stream_gap[stream]
            if is_delivered:
                continue
            stage += 1
            num_packets = 1
            if stage == stream_turn[stream]:
                num_packets = stream_num_packets[stream]
            queue = stage_queue[stage]
            entry = queue_port[queue]
            server = port_server[entry]

        # Packets arrive in a queue; its server wakes for them (or for credit that came back).
        for packet in range(packet, packet + num_packets):  # noqa: B020
            if free_slot < 0:
                free_slot = len(slot_next)
                slot_stage.append(0)
                slot_form.append(0)
                slot_arrival.append(0)
                slot_issue.append(0)
                slot_next.append(-1)
            slot = free_slot
            free_slot = slot_next[slot]
            form = stage_form[stage] + packet
            slot_stage[slot], slot_form[slot], slot_next[slot] = stage, form, -1
            slot_arrival[slot], slot_issue[slot] = arrival, issue
            if queue_head[queue] < 0:
                queue_head[queue] = slot
            else:
                slot_next[queue_tail[queue]] = slot
            queue_tail[queue] = slot
            num_waiting[server] += 1
            if port_upstream[entry] >= 0:
                queue_used[queue] += form_bytes[form]
                above = queue_used[queue] - queue_own[queue]
                if above > 0:
                    port_used[entry] += min(above, form_bytes[form])
                queue_peak[queue] = max(queue_peak[queue], queue_used[queue])
                port_peak[entry] = max(port_peak[entry], port_used[entry])
        at = max(arrival, free_at[server])
        if at < wake_at[server]:
            wake_at[server] = at
            heappush(events, (at, server))

    return Counts(
        form_counted, issued, entered, finished, counted, latency_sum, last_delivery, server_busy,
        queue_peak, port_peak, queue_used,
    )  # fmt: skip
