"""The commands in the documents are real, and so is the output of those that measure nothing."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOPOLOGY = (ROOT / "docs" / "topology.md").read_text(encoding="utf-8")
# Console blocks: a line with the command, and what it printed, with a line of … where something
# is left out. Measurements differ every time.
BLOCKS = re.findall(r"```console\n\$ (topoprobe .*)\n((?s:.*?))```", README + TOPOLOGY)
MEASURING = ("profile", "bench", "run")


def block_id(block: tuple[str, str]) -> str:
    return block[0]


def repeatable() -> list[tuple[str, str]]:
    return [block for block in BLOCKS if shlex.split(block[0])[1] not in MEASURING]


def test_readme_shows_the_commands() -> None:
    assert {shlex.split(command)[1] for command, _ in BLOCKS} >= {"scan", "simulate", "bench"}
    assert len(repeatable()) >= 2


@pytest.mark.parametrize("block", repeatable(), ids=block_id)
def test_documents_show_what_the_command_prints(block: tuple[str, str]) -> None:
    command, shown = block
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stderr
    position = 0
    for part in shown.rstrip().split("\n…\n"):
        found = done.stdout.find(part, position)
        assert found >= 0, f"not printed, or not in this order:\n{part}"
        position = found + len(part)
    assert done.stdout[position:].strip() == ""


def test_readme_lists_every_command() -> None:
    from topoprobe.cli.main import COMMANDS

    for command in COMMANDS:
        assert f"`topoprobe {command}" in README
