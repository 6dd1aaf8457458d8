from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cuda.support import names_of
from topoprobe.errors import EnvironmentMissing, TopoprobeError
from topoprobe.measure.devices.cuda import kernels
from topoprobe.measure.devices.cuda.nvrtc import load_nvrtc

FOLDER = Path(__file__).resolve().parents[2] / "cuda"
CAPABILITIES = ("75", "80", "86", "89", "90", "100", "120")


#: Threads that a multiprocessor holds, by the CUDA programming guide.
THREADS_PER_SM = {
    "75": 1024,
    "80": 2048,
    "86": 1536,
    "89": 1536,
    "90": 2048,
    "100": 2048,
    "120": 1536,
}
REGISTERS_PER_SM = 65536


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
    exported = list(entries(binary.code.decode()))
    assert exported == list(binary.kernel_names) == names_of(family)


def test_intensity_without_bf16_arithmetic_leaves_out_its_kernel(
    nvrtc_capabilities: tuple[int, ...],
) -> None:
    names = kernels.compile_family("intensity", "sm_75").kernel_names
    assert names == ("intensity_fp32", "intensity_fp64", "intensity_fp16")
    assert names == kernels.compile_family("intensity", "compute_75").kernel_names


def entries(ptx: str) -> dict[str, str]:
    """Return the body of every kernel."""
    found = re.findall(r"\.visible \.entry (\w+)\(.*?\)\s*\{(.*?)\n\}", ptx, re.S)
    return dict(found)


def ptx_of(family: str) -> dict[str, str]:
    return entries(kernels.compile_family(family, "compute_80").code.decode())


@pytest.mark.parametrize(
    ("family", "scalar_accesses"),
    [
        ("intensity", set()),
        ("kv_blocks", {"ld.global.u32"}),  # the table
        ("sm_copy", set()),
        ("stream", {"st.global.u64"}),  # the sums
        ("zero_copy", {"st.global.u64"}),
    ],
)
def test_bandwidth_kernels_as_ptx_access_memory_sixteen_bytes_at_a_time(
    nvrtc_capabilities: tuple[int, ...], family: str, scalar_accesses: set[str]
) -> None:
    text = "".join(ptx_of(family).values())
    accesses = set(re.findall(r"\b(?:ld|st)\.(?:volatile\.)?global\S*", text))
    vectors = {access for access in accesses if ".v" in access}
    sizes = {
        int(lanes) * int(bits)
        for access in vectors
        for lanes, bits in re.findall(r"\.v(\d)\.\w(\d+)", access)
    }
    assert sizes == {128}
    assert accesses - vectors == scalar_accesses


@pytest.mark.parametrize(
    ("kernel", "instruction"),
    [
        ("intensity_fp32", "fma.rn.f32"),
        ("intensity_fp64", "fma.rn.f64"),
        ("intensity_fp16", "fma.rn.f16x2"),
        ("intensity_bf16", "fma.rn.bf16x2"),
    ],
)
def test_intensity_loop_is_sixteen_rounds_of_eight_multiply_adds_and_little_else(
    nvrtc_capabilities: tuple[int, ...], kernel: str, instruction: str
) -> None:
    blocks = re.split(r"\n\$\w+:", ptx_of("intensity")[kernel])
    loops = [re.findall(r"^\s*(?:@\S+ )?([a-z][\w.]*)", block, re.M) for block in blocks]
    hottest = max(loops, key=lambda loop: loop.count(instruction))
    assert hottest.count(instruction) == 16 * 8
    assert len(hottest) - hottest.count(instruction) <= 4


def test_chase_reads_its_clock_only_after_a_store_of_the_last_load(
    nvrtc_capabilities: tuple[int, ...],
) -> None:
    for kernel in ("pointer_chase", "loaded_chase"):
        steps = re.findall(
            r"ld\.global\.u32|st\.volatile\.global\.u64|%clock64|%globaltimer",
            ptx_of("latency")[kernel],
        )
        clocks = [at for at, step in enumerate(steps) if step == "%clock64"]
        first, last = clocks
        assert steps[first - 1] == steps[last - 1] == "st.volatile.global.u64"
        assert set(steps[first + 2 : last - 1]) == {"ld.global.u32"}


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("family", kernels.FAMILIES)
def test_family_for_each_architecture_spills_nothing_and_fills_the_multiprocessors(
    nvrtc_capabilities: tuple[int, ...], family: str, capability: str
) -> None:
    _, log = load_nvrtc().compile(
        f"{family}.cu",
        kernels.source(f"{family}.cu"),
        headers={name: kernels.source(name) for name in kernels.HEADERS},
        architecture=f"sm_{capability}",
        options=("--ptxas-options=-v",),
    )
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", log)
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", log)]
    assert len(frames) == len(registers) > 0
    assert set(frames) == {("0", "0")}
    if family in ("intensity", "stream", "zero_copy"):
        assert max(registers) * THREADS_PER_SM[capability] <= REGISTERS_PER_SM


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
    assert rows == [(name, family) for family in kernels.FAMILIES for name in names_of(family)]


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
