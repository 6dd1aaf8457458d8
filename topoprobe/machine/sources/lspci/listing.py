"""`lspci`, `-n`, `-nn`, `-k`, `-mm` and `-vmm`: what functions there are, nothing of the tree.

An address does not tell what a bus hangs on: without the bridges' bus numbers the place of every
function stays unknown, also where all buses are number 0, as in Hyper-V's guests.
"""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.facts import Facts, NumaFact, PciFact
from topoprobe.machine.sources.lspci import blocks, fields, verbose
from topoprobe.machine.sources.lspci.details import Details
from topoprobe.machine.sources.lspci.functions import once_each, silence, with_interfaces
from topoprobe.machine.sources.lspci.guests import host_of
from topoprobe.machine.virtual_functions import with_owners
from topoprobe.records.base import Missing


def matches(text: str) -> bool:
    """Tell whether a text holds such output, and none that `verbose` reads."""
    if verbose.matches(text):
        return False
    return blocks.holds_functions(text) or fields.holds_functions(text)


def read(text: str, name: str) -> Facts:
    """Read it."""
    found = blocks.split(text)
    told = [*map(_function, found.functions), *fields.functions_of(text)]
    functions = once_each(function for function, _ in told)
    numas = sorted({f.numa_index for f in functions if f.numa_index is not None})
    return Facts(
        source=f"lspci {name}",
        tree="none",
        host=host_of(functions),
        numas=tuple(NumaFact(os_index=index) for index in numas),
        functions=with_owners(with_interfaces(functions), {}),
        unknown=(
            *found.unknown,
            *(silence(function.address) for function, is_silent in told if is_silent),
            *(missing for function in functions for missing in _missing(function)),
        ),
    )


def _function(block: blocks.Block) -> tuple[PciFact, bool]:
    identity = block.identity
    details = Details(block.address, identity.class_code or "")
    details.read(block.lines)
    fact = PciFact(
        address=block.address,
        class_code=identity.class_code,
        vendor=identity.vendor,
        device=identity.device,
        name=identity.name,
        driver=details.driver,
    )
    return fact, identity.is_silent


def _missing(function: PciFact) -> Iterator[Missing]:
    reason = "A list of functions tells nothing of the tree; give `lspci -vvv` or `lspci -tv` too."
    yield Missing(subject=function.address, fact="parent", reason=reason)
    yield Missing(subject=function.address, fact="maximum", reason=reason)
    if function.numa_index is None:
        reason = "A list of functions tells no NUMA nodes."
        yield Missing(subject=function.address, fact="numa_index", reason=reason)
