"""The order of the layers, read from every import statement of the project."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# From the ground up; a file imports from its own layer and from lower ones.
LAYERS = (
    "errors", "units", "records", "machine", "measure", "model", "serving", "serving.simulator",
    "planning", "exchange", "reports", "machine.sources", "measure.devices", "serving.runner",
    "microbench", "fleet", "cli",
)  # fmt: skip
SAME_RANK = {"errors", "units"}
PURE = {
    "errors", "units", "records", "machine", "measure", "model", "serving", "serving.simulator",
    "planning", "exchange", "reports",
}  # fmt: skip
EDGE_MODULES = {
    "os", "subprocess", "time", "tempfile", "shutil", "socket", "glob", "torch", "cupy", "pynvml",
    "numba",
}  # fmt: skip


def source_files() -> list[Path]:
    folders = ("topoprobe", "microbench", "reports")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    """Dotted name below topoprobe, as `measure.devices.cpu`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "topoprobe":
        parts = parts[1:]
    return ".".join(part for part in parts if part != "__init__")


def layer_of(module: str) -> str | None:
    candidates = [name for name in LAYERS if module == name or module.startswith(f"{name}.")]
    return max(candidates, key=len, default=None)


def imported_modules(path: Path) -> Iterator[tuple[str, int]]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
                prefix = ".".join(["topoprobe", *base, *([node.module] if node.module else [])])
            else:
                prefix = node.module or ""
            yield prefix, node.lineno
            for alias in node.names:
                yield f"{prefix}.{alias.name}", node.lineno


def breaches(path: Path) -> list[str]:
    module = module_of(path)
    own = layer_of(module)
    if own is None:
        return []
    found = []
    for name, line in imported_modules(path):
        where = f"{path.relative_to(ROOT)}:{line}"
        if name.startswith(("topoprobe.topoprobe", "topoprobe.tests")):
            found.append(f"{where} imports {name}: the package inside itself")
        if own in PURE and name.split(".")[0] in EDGE_MODULES:
            found.append(f"{where} is pure ({own}) and imports {name}")
        target = (
            layer_of(name.removeprefix("topoprobe.")) if name.startswith("topoprobe.") else None
        )
        if target is None or target == own or {own, target} <= SAME_RANK:
            continue
        if LAYERS.index(target) > LAYERS.index(own):
            found.append(f"{where} ({own}) imports {name} ({target})")
    return found


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_file_imports_only_own_and_lower_layers(path: Path) -> None:
    assert breaches(path) == []


def test_every_folder_belongs_to_a_layer() -> None:
    outside = {"", "__main__"}
    strangers = [
        module for path in source_files()
        if layer_of(module := module_of(path)) is None and module not in outside
    ]  # fmt: skip
    assert strangers == []


@pytest.mark.parametrize(
    ("folder", "text"),
    [
        ("records", "from topoprobe.machine import paths\n"),
        ("machine", "import os\n"),
        ("measure", "from topoprobe.serving.events import Plan\n"),
        ("serving", "from topoprobe.serving.runner import model\n"),
        ("cli", "import topoprobe.topoprobe\n"),
    ],
)
def test_layer_test_can_fail(
    folder: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "topoprobe" / folder / "breach.py"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert breaches(path) != []
