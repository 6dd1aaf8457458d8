"""Which keys of a flow its executor heeds: what a prediction refuses, and what it passes over."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.errors import ModelError
from topoprobe.measure.flows import KERNEL_ACCESS_BYTES, Flow, Work
from topoprobe.records.base import Missing


def check_keys(flow: Flow) -> None:
    """Check the keys of a flow that no CPU moves.

    Raises
    ------
    ModelError
        If its executor cannot do what one asks for.
    """
    kind, txn_bytes = flow.executor.kind, flow.txn_bytes
    if txn_bytes is not None and kind == "ce":
        raise ModelError(
            f"{flow}: a copy engine chooses its transactions itself; leave out txn, or use via sm."
        )
    if txn_bytes is not None and kind == "sm" and txn_bytes not in KERNEL_ACCESS_BYTES:
        sizes = ", ".join(map(str, KERNEL_ACCESS_BYTES))
        raise ModelError(f"{flow}: a kernel accesses {sizes} bytes at once; choose one for txn.")
    if flow.peer is not None and kind != "nic":
        raise ModelError(f"{flow}: only a nic has a peer; leave it out.")


def does_load(flow: Flow) -> bool:
    """Tell whether a flow is work other than a copy that bench has a GPU do."""
    is_within = flow.source == flow.destination and flow.source.kind == "gpu"
    has_choices = flow.executor.count is not None or flow.txn_bytes or flow.chunk_bytes
    is_known = flow.work in (Work.STREAM, Work.GEMV, Work.GEMM)
    return is_within and flow.executor.kind == "sm" and not has_choices and is_known


def unheeded(flow: Flow) -> Iterator[Missing]:
    """Yield what a flow asks for and no law looks at."""
    if flow.executor.count is not None and flow.executor.kind == "sm":
        yield Missing(
            subject=str(flow),
            fact="blocks",
            reason=f"{flow.executor} is taken for a kernel with as many blocks as fill its way; "
            "fewer may be slower",
        )
    if flow.executor.kind == "cpu" and flow.size_bytes is not None:
        yield Missing(
            subject=str(flow),
            fact="size",
            reason="the size of a flow by cpu is that of buffers that it goes through over and "
            "over, so it has no end of its own",
        )
