"""Where output goes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from topoprobe.cli.output import deliver, read_input, refuse_existing
from topoprobe.errors import UsageError


@pytest.mark.parametrize(
    ("has_file", "as_json", "printed", "may_print"),
    [
        (False, False, "", True),
        (True, False, "", True),
        (False, True, "{}", False),
        (True, True, "{}", False),
    ],
)
def test_deliver_writes_wherever_it_was_asked(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    has_file: bool,
    as_json: bool,
    printed: str,
    may_print: bool,
) -> None:
    target = tmp_path / "x.json"
    assert deliver(b"{}", str(target) if has_file else None, as_json=as_json) is may_print
    assert capfd.readouterr().out == printed
    assert target.exists() is has_file


def test_deliver_dash_is_stdout_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert deliver(b"{}", "-", as_json=True) is False
    assert capfd.readouterr().out == "{}"


def test_refuse_existing_leaves_nothing_behind(tmp_path: Path) -> None:
    refuse_existing(str(tmp_path / "x.json"), force=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_refuse_existing_tries_the_folder() -> None:
    with pytest.raises(UsageError, match=r"/proc/x\.json cannot be written"):
        refuse_existing("/proc/x.json", force=False)


def test_refuse_existing_name_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="File name too long"):
        refuse_existing(str(tmp_path / ("x" * 255)), force=False)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_stdin_from_a_terminal_says_that_it_waits(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"text"))
    monkeypatch.setattr(stdin, "isatty", lambda: is_terminal)
    monkeypatch.setattr("sys.stdin", stdin)
    assert read_input("-", 10) == b"text"
    assert ("Ctrl-D" in capsys.readouterr().err) is is_terminal
