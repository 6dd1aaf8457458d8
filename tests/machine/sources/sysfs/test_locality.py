"""What firmware says of places and cannot be, or says nothing."""

from __future__ import annotations

from tests.machine.sources.sysfs.fake_root import FakeRoot
from topoprobe.records.machine import Gpu


def test_cpus_stand_in_for_a_node_that_is_not_told(fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:04.0", "030200", "10de:2330", numa_node="-1", local_cpulist="4-7")
    document = fake.document()
    gpu = next(n for n in document.nodes if isinstance(n, Gpu))
    assert (gpu.numa_index, gpu.cpus) == (1, (4, 5, 6, 7))
    assert any("derived" in p.source for p in document.provenance if p.subject == gpu.id)


def test_all_cpus_are_no_place_among_several_nodes(fake: FakeRoot) -> None:
    fake.pci(
        "pci0000:00/0000:00:04.0", "030200", "10de:2330", numa_node="-1", local_cpus="000000ff"
    )
    facts = fake.read()
    assert (facts.functions[0].numa_index, facts.functions[0].cpus) == (None, ())
    assert "all CPUs" in {m.fact: m.reason for m in facts.unknown}["numa_index"]
    assert facts.contradictions == ()


def test_one_node_beside_all_cpus_is_a_contradiction(fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:04.0", "030200", numa_node="1", local_cpulist="0-7")
    facts = fake.read()
    assert (facts.functions[0].numa_index, facts.functions[0].cpus) == (None, ())
    (contradiction,) = facts.contradictions
    assert contradiction.readings == ("numa_node 1", "local_cpulist 0-7, all CPUs")


def test_cpus_in_parts_of_several_packages_are_reported_and_kept(fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:04.0", "030200", numa_node="-1", local_cpulist="2-5")
    facts = fake.read()
    assert facts.functions[0].cpus == (2, 3, 4, 5)
    assert [c.fact for c in facts.contradictions] == ["cpus"]


def test_nodes_that_share_cpus_are_reported(fake: FakeRoot) -> None:
    fake.numa(1, "3-7", 1 << 20, "21 10")
    facts = fake.read()
    assert [c.subject for c in facts.contradictions] == ["numa:1"]
    assert facts.contradictions[0].readings == ("CPUs 3-7", "NUMA node 0 has some too")


def test_machine_with_one_node_has_all_cpus_near_everything(fake: FakeRoot) -> None:
    for entry in ("cpulist", "meminfo", "distance"):
        (fake.root / f"sys/devices/system/node/node1/{entry}").unlink()
    fake.numa(0, "0-7", 1 << 20, "10")
    fake.pci("pci0000:00/0000:00:04.0", "030200", numa_node="-1", local_cpulist="0-7")
    facts = fake.read()
    assert facts.functions[0].cpus == tuple(range(8))
    assert facts.contradictions == ()
