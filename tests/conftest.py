"""Fixtures shared by the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of recorded machines and traces; its absence skips the test with the reason."""
    folder = Path(os.environ.get("TOPOPROBE_RECORDINGS", str(ROOT.parent / "shared")))
    if not folder.is_dir():
        pytest.skip(f"recordings are absent: $TOPOPROBE_RECORDINGS ({folder}) is not a folder")
    return folder


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Force 80 columns and no colour, so that printed text is the same everywhere."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
