"""What is installed, found without importing it."""

from __future__ import annotations

from pathlib import Path

from topoprobe.machine.sources.software import installed
from topoprobe.machine.verdicts.software import Distribution


def install(folder: Path, name: str, version: str) -> str:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return str(folder)


def test_distributions_of_interest_are_listed_with_versions(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for name, version in (("nvidia-ml-py", "13.0"), ("pynvml", "11.5.0"), ("rich", "13.8")):
        install(site, name, version)
    assert installed([str(site)]) == (
        Distribution("nvidia-ml-py", "13.0"), Distribution("pynvml", "11.5.0"),
    )  # fmt: skip


def test_every_copy_on_the_path_counts(tmp_path: Path) -> None:
    path = [
        install(tmp_path / "user", "nvidia-ml-py", "12.560.30"),
        install(tmp_path / "system", "nvidia-ml-py", "13.0"),
    ]
    assert [one.version for one in installed(path)] == ["12.560.30", "13.0"]


def test_remains_of_a_distribution_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "cupy_cuda12x-13.0.dist-info").mkdir()
    (tmp_path / "pynvml-1.dist-info").mkdir()
    (tmp_path / "pynvml-1.dist-info" / "METADATA").write_bytes(b"\xff\xfe\x00")
    assert installed([str(tmp_path)]) == ()


def test_own_environment_has_the_binding() -> None:
    assert "nvidia-ml-py" in {one.name for one in installed()}
