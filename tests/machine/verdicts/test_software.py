"""Whether the Python environment suits the machine."""

from __future__ import annotations

import pytest

from tests.machine.verdicts.made_up import gpu, machine
from topoprobe.machine.verdicts import software
from topoprobe.machine.verdicts.software import Distribution
from topoprobe.records.base import Verdict


def judged(*installed: str, driver: str | None = None, **more: object) -> list[Verdict]:
    nodes = [gpu(driver=driver, **more)] if driver else []
    found = [Distribution(*one.split()) for one in installed]
    return list(software.judge(machine(*nodes), found))


def test_machine_without_a_gpu_needs_no_cuda() -> None:
    (verdict,) = judged()
    assert (verdict.level, verdict.evidence) == (
        "OK", "There is no GPU, so no CUDA package is needed.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("installed", "level", "words"),
    [
        (["nvidia-ml-py 13.0"], "OK", "the only binding"),
        (["nvidia-ml-py 13.0", "pynvml 11.5.0"], "WARN", "More than one distribution"),
        (["nvidia-ml-py 13.0", "nvidia-ml-py3 7.352.0"], "WARN", "More than one distribution"),
        (["nvidia-ml-py 13.0", "nvidia-ml-py 12.5"], "WARN", "More than one distribution"),
        (["nvidia-ml-py 13.0", "pynvml 13.0.1"], "WARN", "deprecated wrapper"),
    ],
)
def test_bindings_of_nvml_are_told_apart(installed: list[str], level: str, words: str) -> None:
    verdict, _ = judged(*installed)
    assert verdict.level == level
    assert words in verdict.evidence


@pytest.mark.parametrize(
    ("driver", "capability", "extra"),
    [
        ("nvidia 580.105.08", "9.0", "cuda13"),
        ("nvidia 570.86.15", "9.0", "cuda12"),
        ("nvidia 580.105.08", "7.0", "cuda12"),
        ("nvidia", None, "cuda13"),
    ],
)
def test_missing_cupy_is_worth_the_extra_that_fits(
    driver: str, capability: str | None, extra: str
) -> None:
    (verdict,) = judged(driver=driver, compute_capability=capability)
    assert verdict.level == "WARN"
    assert f"topoprobe[{extra}]" in (verdict.fix or "")


@pytest.mark.parametrize(
    ("installed", "driver", "level", "words"),
    [
        (["cupy-cuda13x 14.0"], "nvidia 570.1", "FAIL", "needs CUDA 13"),
        (["cupy-cuda13x 14.0"], "nvidia 580.1", "OK", "fits nvidia 580.1 (CUDA 13)"),
        (["cupy-cuda12x 13.4"], "nvidia 580.1", "OK", "runs programs of older versions too"),
        (["cupy-cuda12x 13.4"], "nvidia 570.1", "OK", "fits"),
        (["cupy-cuda11x 13.4"], "nvidia 580.1", "FAIL", "is made for CUDA 11"),
        (["cupy 13.4"], "nvidia 580.1", "OK", "was built here"),
        (["cupy-cuda12x 13.4", "cupy-cuda13x 14"], "nvidia 580.1", "FAIL", "overwrite each other"),
    ],
)
def test_cupy_is_compared_with_the_driver(
    installed: list[str], driver: str, level: str, words: str
) -> None:
    (verdict,) = judged(*installed, driver=driver)
    assert verdict.level == level
    assert words in verdict.evidence
    assert (verdict.fix is None) is (level == "OK")
