"""What `make gpu` does with a GPU, and without one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(folder: Path, nvidia_smi: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make with a stand-in for nvidia-smi."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
    tool.chmod(0o755)
    # The suite itself may run below a make, whose level and flags would pass on.
    outside = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=outside | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_make_gpu_without_one_refuses_in_one_sentence(tmp_path: Path) -> None:
    done = make(tmp_path, "exit 9", "gpu")
    assert done.returncode != 0
    assert done.stdout == ""
    sentence, *rest = done.stderr.splitlines()
    assert sentence == "make gpu measures NVIDIA GPUs, and nvidia-smi names none here."
    assert all(line.startswith("make: ***") for line in rest)


@pytest.mark.parametrize(
    ("names", "folder"),
    [(["NVIDIA H200"], "nvidia-h200"), (["NVIDIA L40S"] * 2, "2x-nvidia-l40s")],
)
def test_make_gpu_keeps_the_documents_in_a_folder_of_the_device(
    tmp_path: Path, names: list[str], folder: str
) -> None:
    told = "; ".join(f"echo '{name}'" for name in names)
    done = make(tmp_path, told, "--dry-run", "gpu")
    assert done.returncode == 0, done.stderr
    assert "pytest -q -m gpu tests" in done.stdout
    assert "driver_version,clocks.sm" in done.stdout
    assert f"profile --suite full -o docs/measured/{folder} --force" in done.stdout
