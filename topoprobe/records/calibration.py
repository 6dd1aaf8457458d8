"""The calibration document: every number that a scheduler needs, as an estimate with its interval.

This is the public contract with other serving stacks; a field never changes its meaning within a
version.
"""

from __future__ import annotations

from typing import Literal

from topoprobe.records.base import Estimate, Missing, Record, Tool, Verdict
from topoprobe.records.machine import MachineDocument


class StreamRate(Record, frozen=True, kw_only=True):
    """Best sustained rate of one STREAM kernel, over the competing variants."""

    kernel: Literal["copy", "scale", "add", "triad", "read", "write"]
    num_threads: int | None
    variant: str
    rate_bytes_per_s: Estimate


class ComputeRate(Record, frozen=True, kw_only=True):
    """An arithmetic ceiling: a loop of fused multiply-adds, or a matrix product."""

    dtype: str
    method: Literal["fma", "gemm"]
    num_threads: int | None
    variant: str
    rate_flop_per_s: Estimate


class RooflinePoint(Record, frozen=True, kw_only=True):
    """Attained arithmetic rate at one arithmetic intensity."""

    dtype: str
    intensity_flop_per_byte: float
    num_threads: int | None
    rate_flop_per_s: Estimate


class LoadedLatencyPoint(Record, frozen=True, kw_only=True):
    """Memory latency seen by one thread while others draw a given bandwidth."""

    load_bytes_per_s: Estimate
    latency_s: Estimate


class SwapRate(Record, frozen=True, kw_only=True):
    """Rate of moving KV blocks between a device pool and a host pool.

    `direction` ``out`` is device to host; `load` tells whether a decode-like load ran beside it.
    """

    direction: Literal["out", "in"]
    layout: Literal["contiguous", "scattered"]
    load: Literal["idle", "beside_compute"]
    block_bytes: int
    rate_bytes_per_s: Estimate


class SwapLaw(Record, frozen=True, kw_only=True):
    """Time of a swap of n blocks of b bytes: ``n * latency_s + n * b / bandwidth`` (alpha-beta)."""

    direction: Literal["out", "in"]
    layout: Literal["contiguous", "scattered"]
    latency_s: Estimate
    bandwidth_bytes_per_s: Estimate
    max_error_ratio: float


class StorageRate(Record, frozen=True, kw_only=True):
    """Sustained rate of the disk tier."""

    name: str
    operation: Literal["read", "write"]
    is_direct: bool
    block_bytes: int
    rate_bytes_per_s: Estimate


class PowerLaw(Record, frozen=True, kw_only=True):
    """Device power and energy coefficients."""

    idle_w: Estimate | None = None
    energy_per_flop_j: Estimate | None = None
    energy_per_byte_j: Estimate | None = None


class EngineShare(Record, frozen=True, kw_only=True):
    """What copies of one GPU in one direction leave to each other.

    Attributes
    ----------
    direction : str
        ``in`` is from the host to the GPU, ``both`` one copy each way.
    num_flows : int
        Copies at once, by copy engines.
    together_ratio : Estimate
        What all moved over what one moves alone: 1 if they take turns, on the engine or the link,
        less if turns cost something, 2 if two do not notice each other.
    """

    direction: Literal["out", "in", "both"]
    num_flows: int
    together_ratio: Estimate


class Handover(Record, frozen=True, kw_only=True):
    """How long a cache line takes from one CPU to another, one way.

    Attributes
    ----------
    shared : str
        What the CPUs have in common at most: a ``core``, NUMA ``node``, ``package``, or the
        ``machine``.
    num_pairs : int
        Pairs of CPUs of that kind that were measured.
    latency_s : Estimate
        Median over the pairs.
    """

    shared: Literal["core", "node", "package", "machine"]
    num_pairs: int
    latency_s: Estimate


class DeviceCalibration(Record, frozen=True, kw_only=True):
    """What one device gives. `device` is a node id of the machine: a package or a GPU."""

    device: str
    kind: Literal["cpu", "gpu"]
    name: str
    memory_bytes: Estimate | None = None
    memory_bandwidth_bytes_per_s: Estimate | None = None
    memory_latency_s: Estimate | None = None
    launch_overhead_s: Estimate | None = None
    stream: tuple[StreamRate, ...] = ()
    compute: tuple[ComputeRate, ...] = ()
    roofline: tuple[RooflinePoint, ...] = ()
    host_swap: tuple[SwapRate, ...] = ()
    swap_laws: tuple[SwapLaw, ...] = ()
    storage: tuple[StorageRate, ...] = ()
    power: PowerLaw | None = None
    engines: tuple[EngineShare, ...] = ()
    handovers: tuple[Handover, ...] = ()


class PacketLaw(Record, frozen=True, kw_only=True):
    """What packets cost in one direction of a PCIe link.

    Large transfers get ``wire * efficiency * payload / (payload + header)``.

    Attributes
    ----------
    wire_bytes_per_s : float
        What the lanes carry after line encoding, in the state that was read under load.
    header_bytes : int
        Around each packet of this direction: completions of reads, or writes.
    efficiency_ratio : Estimate
        What acknowledgements, credits and clock compensation leave.
    payload_bytes : Estimate
        Of the packets that large transfers behave as if they were made of.
    """

    direction: Literal["a_to_b", "b_to_a"]
    wire_bytes_per_s: float
    header_bytes: int
    efficiency_ratio: Estimate
    payload_bytes: Estimate


class LinkCalibration(Record, frozen=True, kw_only=True):
    """What one link gives; `link` is a link id of the machine.

    Attributes
    ----------
    latency_s, b_to_a_latency_s : Estimate or None
        What a transfer takes beyond its bytes, from a to b and back. Between sockets: what a load
        from far memory takes beyond one from near memory.
    both_bytes_per_s : Estimate or None
        What both directions carry together when both are used.
    duplex_ratio : Estimate or None
        That over the sum of both directions alone: 1 if they do not notice each other.
    packet_laws : tuple of PacketLaw
        By direction, where its rate tells.
    """

    link: str
    latency_s: Estimate | None = None
    a_to_b_bytes_per_s: Estimate | None = None
    b_to_a_bytes_per_s: Estimate | None = None
    both_bytes_per_s: Estimate | None = None
    b_to_a_latency_s: Estimate | None = None
    duplex_ratio: Estimate | None = None
    packet_laws: tuple[PacketLaw, ...] = ()


class FlowShare(Record, frozen=True, kw_only=True):
    """One flow of a concurrent set: alone, together, and the ratio.

    Attributes
    ----------
    jitter_ratio : Estimate or None
        99th percentile over median duration of its chunks.
    convergence_s : Estimate or None
        From 10 % to 90 % of its change after the last flow joined; None where none joined late, or
        where it did not change.
    predicted_slowdown_ratio : float or None
        By laws fitted to the sets of other kinds alone, so that it may be compared with what was
        measured; None where those do not tell.
    """

    flow: str
    solo_per_s: Estimate
    shared_per_s: Estimate
    slowdown_ratio: Estimate
    jitter_ratio: Estimate | None = None
    convergence_s: Estimate | None = None
    predicted_slowdown_ratio: float | None = None


class FlowSetShare(Record, frozen=True, kw_only=True):
    """A concurrent set measured in a common window.

    Attributes
    ----------
    jain_ratio : Estimate
        Jain's index over ``shared / solo`` of its flows, 1 when all suffer alike.
    wire_jain_ratio : Estimate or None
        Jain's index over the rates with packet headers, where all transaction sizes are known.
    bottleneck : str or None
        The narrowest link, with its direction, that all flows cross.
    bottleneck_ratio : Estimate or None
        What all flows moved together over its nominal capacity.
    """

    flows: tuple[FlowShare, ...]
    jain_ratio: Estimate
    max_min_ratio: Estimate
    wire_jain_ratio: Estimate | None = None
    bottleneck: str | None = None
    bottleneck_ratio: Estimate | None = None


class SlowdownMatrix(Record, frozen=True, kw_only=True):
    """Slowdown of each victim (row) beside each aggressor (column); None where not measured."""

    flows: tuple[str, ...]
    slowdown_victim_aggressor: tuple[tuple[Estimate | None, ...], ...]


class CpuWork(Record, frozen=True, kw_only=True):
    """What one kind of work takes of a CPU and of memory, and what others do to it.

    Attributes
    ----------
    work : str
        As the flow grammar calls it, such as ``memcpy`` or ``chase``.
    solo_per_s : Estimate
        Rate of one thread alone: bytes, hops or flop per second.
    memory_bytes_per_unit : float
        What a byte, hop or flop of it moves from and to memory.
    stall_ratio : Estimate or None
        How much longer it takes while other CPUs draw all the traffic that the memory carries: 1
        means twice as long. None where it was not seen beside flows on other CPUs.
    core_ratio : Estimate or None
        Share of a CPU that it takes when alone, of a work that sleeps between its requests.
    wait_ratio : Estimate or None
        How much longer such a work takes for each busy flow on its CPU.
    together_per_s : Estimate or None
        What several flows of such a work reach together, at the device that they share.
    """

    work: str
    solo_per_s: Estimate
    memory_bytes_per_unit: float
    stall_ratio: Estimate | None = None
    core_ratio: Estimate | None = None
    wait_ratio: Estimate | None = None
    together_per_s: Estimate | None = None


class Contention(Record, frozen=True, kw_only=True):
    """How flows share one resource of the machine.

    Attributes
    ----------
    capacity_bytes_per_s : Estimate or None
        What it gives, in the bytes that its users count.
    knee_bytes_per_s : Estimate or None
        The load at which latency is 1.5 times that beside the least load.
    traffic_bytes_per_s : Estimate or None
        Most traffic that a NUMA node's memory was seen to carry for concurrent flows of CPUs.
    cpu_works : tuple of CpuWork
        The law of each kind of work of CPUs that was measured in concurrent sets.
    """

    resource: str
    capacity_bytes_per_s: Estimate | None = None
    sharing_law: Literal["per_transaction", "byte_fair", "oldest_first"] | None = None
    sharing_exponent: Estimate | None = None
    loaded_latency: tuple[LoadedLatencyPoint, ...] = ()
    knee_bytes_per_s: Estimate | None = None
    slowdown: SlowdownMatrix | None = None
    sets: tuple[FlowSetShare, ...] = ()
    traffic_bytes_per_s: Estimate | None = None
    cpu_works: tuple[CpuWork, ...] = ()


class ModelShape(Record, frozen=True, kw_only=True):
    """The shape of a decoder-only transformer (Llama family).

    `intermediate_size` is the width of the gated MLP; `dtype_bytes` the size of a weight and of a
    KV element; `max_context_tokens` the longest prompt and answer that it was trained for, None
    where no training set one.
    """

    name: str
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    dtype: str
    dtype_bytes: int
    has_tied_embeddings: bool = False
    rope_theta: float = 10000.0
    norm_epsilon: float = 1e-5
    max_context_tokens: int | None = None


class Coefficient(Record, frozen=True, kw_only=True):
    """One non-negative coefficient of a step-cost law, and the feature it multiplies."""

    feature: str
    unit: str
    estimate: Estimate


class FeatureRange(Record, frozen=True, kw_only=True):
    """The range of a feature that the fit has seen; beyond it a prediction is an extrapolation."""

    feature: str
    low: float
    high: float


class ModelCost(Record, frozen=True, kw_only=True):
    """Step-cost law of one model on one worker: fitted on some shapes, validated on others.

    ``mean_error_ratio`` and ``max_error_ratio`` are relative errors on the validation shapes, None
    where the law is nominal and nothing was measured. `num_threads` is that of the CPU cores it
    was measured on, None elsewhere.
    """

    model: ModelShape
    devices: tuple[str, ...]
    num_threads: int | None = None
    law: Literal["roofline"] = "roofline"
    coefficients: tuple[Coefficient, ...]
    num_fit_shapes: int
    num_validation_shapes: int
    mean_error_ratio: float | None = None
    max_error_ratio: float | None = None
    ranges: tuple[FeatureRange, ...] = ()


class OperatorCost(Record, frozen=True, kw_only=True):
    """Cost law of one operator of a forward step: constants of its roofline.

    Attributes
    ----------
    operator : str
        ``gemm``, ``prefill_attention``, ``decode_attention``, or a collective.
    implementation : str
        The software that ran it.
    devices : tuple of str
        Node ids of the devices that it holds for.
    num_units, cache_bytes : int, float
        Of each of these devices; the law counts waves and cached operands by them.
    num_fit_shapes, num_validation_shapes : int
        Shapes that the constants were fitted on, and others that the errors are of.
    ranges : tuple of FeatureRange
        Columns of a shape, its flop and bytes, as far as the fit has seen them.
    """

    operator: str
    implementation: str
    dtype: str
    devices: tuple[str, ...]
    num_units: int
    cache_bytes: float
    law: Literal["soft_roofline"] = "soft_roofline"
    coefficients: tuple[Coefficient, ...]
    num_fit_shapes: int
    num_validation_shapes: int
    mean_error_ratio: float
    median_error_ratio: float
    p90_error_ratio: float
    ranges: tuple[FeatureRange, ...] = ()


class CalibrationDocument(
    Record, frozen=True, kw_only=True, tag_field="schema", tag="topoprobe.calibration"
):
    """A machine and every number a scheduler needs about it."""

    version: int = 1
    tool: Tool
    machine: MachineDocument
    created_at: str | None = None
    results: tuple[str, ...] = ()
    devices: tuple[DeviceCalibration, ...] = ()
    links: tuple[LinkCalibration, ...] = ()
    contention: tuple[Contention, ...] = ()
    models: tuple[ModelCost, ...] = ()
    operators: tuple[OperatorCost, ...] = ()
    missing: tuple[Missing, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
