from __future__ import annotations

import re
from pathlib import Path

import pytest

from topoprobe.errors import EnvironmentMissing, TopoprobeError
from topoprobe.measure.devices.cuda import kernels

FOLDER = Path(__file__).resolve().parents[2] / "cuda"
CAPABILITIES = ("75", "80", "86", "89", "90", "100", "120")


def kernels_of(family: str) -> list[str]:
    return re.findall(r"__global__ void (\w+)\(", kernels.source(f"{family}.cu"))


@pytest.fixture(scope="module")
def nvrtc_capabilities() -> tuple[int, ...]:
    try:
        return kernels.supported_capabilities()
    except EnvironmentMissing as gap:
        pytest.skip(str(gap))


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("family", kernels.FAMILIES)
def test_family_for_each_architecture_compiles_without_a_warning(
    nvrtc_capabilities: tuple[int, ...], family: str, capability: str
) -> None:
    assert int(capability) in nvrtc_capabilities
    binary = kernels.compile_family(family, f"sm_{capability}")
    assert binary.log == ""
    assert binary.code.startswith(b"\x7fELF")


@pytest.mark.parametrize("family", kernels.FAMILIES)
def test_family_as_ptx_exports_every_kernel_under_its_c_name(
    nvrtc_capabilities: tuple[int, ...], family: str
) -> None:
    binary = kernels.compile_family(family, "compute_80")
    exported = re.findall(r"\.visible \.entry (\w+)\(", binary.code.decode())
    assert exported == list(binary.kernel_names) == kernels_of(family)


@pytest.mark.parametrize("family", ["stream", "kv_blocks"])
def test_bandwidth_kernels_as_ptx_access_memory_sixteen_bytes_at_a_time(
    nvrtc_capabilities: tuple[int, ...], family: str
) -> None:
    ptx = kernels.compile_family(family, "compute_80").code.decode()
    loads = re.findall(r"\b(?:ld|st)\.global\S*\.v(\d)\.\w(\d+)", ptx)
    assert loads
    assert {int(lanes) * int(bits) for lanes, bits in loads} == {128}


def test_family_with_a_mistake_raises_with_the_compilers_log(
    nvrtc_capabilities: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"broken.cu": '#include "common.cuh"\nundeclared();', "common.cuh": ""}
    monkeypatch.setattr(kernels, "source", texts.__getitem__)
    with pytest.raises(TopoprobeError, match=r"broken\.cu"):
        kernels.compile_family("broken", "sm_90")


def test_architecture_of_a_gpu_newer_than_nvrtc_falls_back_to_ptx(
    nvrtc_capabilities: tuple[int, ...],
) -> None:
    newest = nvrtc_capabilities[-1]
    assert kernels.architecture_for(str(newest)) == f"sm_{newest}"
    assert kernels.architecture_for(str(newest + 10)) == f"compute_{newest}"


def test_architecture_of_a_gpu_older_than_nvrtc_names_the_extra_to_install(
    nvrtc_capabilities: tuple[int, ...],
) -> None:
    with pytest.raises(EnvironmentMissing, match=r"topoprobe\[cuda12\]"):
        kernels.architecture_for("35")


def test_folder_lists_the_families_and_headers_that_are_there() -> None:
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.cu"))) == kernels.FAMILIES
    assert tuple(sorted(path.name for path in FOLDER.glob("*.cuh"))) == kernels.HEADERS
    assert not (FOLDER / "__init__.py").exists()


def test_readme_has_one_row_for_every_kernel() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)\.cu`", (FOLDER / "README.md").read_text(), re.M)
    assert rows == [(name, family) for family in kernels.FAMILIES for name in kernels_of(family)]


@pytest.mark.parametrize("family", kernels.FAMILIES)
def test_family_starts_with_a_comment_that_states_arguments_and_launch(family: str) -> None:
    text = kernels.source(f"{family}.cu")
    header = "".join(re.match(r"(?://.*\n)+", text)[0])  # type: ignore[index]
    assert "//   launch  " in header
    parameters = {
        parameter.split()[-1].lstrip("*")
        for signature in re.findall(r"__global__ void \w+\(([^)]*)\)", text)
        for parameter in signature.split(",")
        if parameter.strip()
    }
    assert {name for name in parameters if not re.search(rf"\b{name}\b", header)} == set()
