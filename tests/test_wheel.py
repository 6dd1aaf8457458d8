"""The built wheel: one name at top level, and every tracked file of the four folders in it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OUTER = ("microbench", "cuda", "reports")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)]
    done = subprocess.run(
        [*command, str(ROOT)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_wheel_owns_only_topoprobe_at_top_level(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"topoprobe"}


def test_wheel_contains_every_tracked_file_of_the_four_folders(names: set[str]) -> None:
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "topoprobe", *OUTER],
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout: the list of tracked files is unknown")
    tracked = [name for name in listing.stdout.split() if (ROOT / name).exists()]
    expected = {f"topoprobe/{name}" if name.split("/")[0] in OUTER else name for name in tracked}
    assert expected - names == set()


def test_wheel_contains_kernels_and_templates(names: set[str]) -> None:
    assert any(name.startswith("topoprobe/cuda/") and name.endswith(".cu") for name in names)
    assert any(name.startswith("topoprobe/reports/templates/") for name in names)
    assert "topoprobe/py.typed" in names


def test_package_has_its_outer_folders_in_a_checkout_too() -> None:
    code = "import topoprobe.microbench, topoprobe.reports; print(topoprobe.__version__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
