"""What the runner's tests share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def dense() -> ModuleType:
    """Load the plain decoder in dense.py, which needs torch."""
    spec = importlib.util.spec_from_file_location("dense", Path(__file__).with_name("dense.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
