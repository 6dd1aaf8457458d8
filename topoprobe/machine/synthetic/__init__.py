"""Made-up machines: built in by name, or written as a short text.

The text nests like hwloc's synthetic strings. ``:`` opens what stands in or below the thing before
it and reaches to the end, ``,`` puts things side by side, a number repeats, and ``[…]`` encloses
what ``:`` would otherwise reach over::

    machine    = list
    list       = item ("," item)*
    item       = [number] (kind ["(" attribute* ")"] [":" list] | "[" list "]")
    kind       = "socket" | "numa" | "root" | "switch" | "gpu" | "nic" | "nvme" | "nvswitch"
    attribute  = part | size | rate | "gen"number | "x"number | key"="value

Words may be in the plural and in any case. A `socket` holds NUMA nodes, host bridges (`root`),
switches and devices; without NUMA nodes it is one, and what stands directly in a NUMA node hangs
on one host bridge, each on its own root port. Devices without a socket share one.

============ =====================================================================================
``socket``   a CPU (``epyc-7742``), ``cores=N`` (32 unless told), ``threads=N`` of a core,
             ``genN`` of its root ports
``numa``     a size (``256gib``) of its memory, ``index=N`` if not in order
``switch``   a part, ``genN`` of its ports (5 unless told), ``xN`` of its uplink (16 unless told)
``gpu``      a part (``h100``), a size of its memory, ``bar=SIZE``, ``genN``, ``xN``,
             ``nvlink=N``: N links, all-to-all, or through the NVSwitches if there are any (as
             evenly as it goes, or ``nvlink=5+4+4+5``),
             ``fabric``: through NVSwitches that show no PCI address,
             ``clique=N``: the same, across machines, ``xgmi=N``: N xGMI links, all-to-all,
             ``c2c=N``: N links to its CPU, ``numa=N``: its memory is that NUMA node
``nic``      a part (``cx7``), a rate (``400gb``), ``ports=N``, ``eth``, ``genN``, ``xN``
``nvme``     a size (``3.84tb``), ``genN``, ``xN``
``nvswitch`` a part (``h100``: that generation's), ``genN``, ``xN``
============ =====================================================================================

What nobody tells is unknown in the machine too: a ``gpu`` without a part has no memory size.
"""

from __future__ import annotations

from topoprobe.machine.facts import Facts
from topoprobe.machine.synthetic.assembly import assemble
from topoprobe.machine.synthetic.builtin import MACHINES
from topoprobe.machine.synthetic.grammar import is_meant, parse

NAMES: tuple[str, ...] = tuple(MACHINES)


def machine_facts(text: str) -> Facts | None:
    """Return the facts of a made-up machine; None if the text is neither a name nor the grammar.

    Parameters
    ----------
    text : str
        One of `NAMES`, or a text as ``2 socket: 4 switch: 2 gpu, 2 nic``.

    Raises
    ------
    InputError
        If it is meant as such a text and has a mistake; the message tells where.
    """
    name = text.strip().lower()
    machine = MACHINES.get(name)
    if machine is not None:
        return assemble(parse(machine.text), name, machine.wiring)
    return assemble(parse(text), text.strip()) if is_meant(text) else None
