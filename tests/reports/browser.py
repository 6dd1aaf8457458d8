"""A headless chromium driven over its debugging pipe: no driver program, no package, no port.

Messages of the DevTools protocol are JSON, each ended by a NUL byte, on the file descriptors 3
(to the browser) and 4 (from it).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
TIMEOUT_S = 40.0


def chromium() -> str | None:
    """Return the path of a chromium, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


class Browser:
    """One browser with one page; collects errors of the console and every request.

    Attributes
    ----------
    errors : list of str
        Uncaught exceptions, ``console.error``, and what the browser itself logs as an error.
    requests : list of str
        Addresses that the page asked for, its own included.
    """

    def __init__(self, program: str, profile: Path) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._events: list[dict[str, Any]] = []
        self._buffer = b""
        self._last_id = 0
        self._process_id, self._in, self._out = _spawn(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        )
        try:
            self._session = self._attach()
        except BaseException:
            self._stop()
            raise
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(AssertionError, BrokenPipeError):
            self._send("Browser.close", session=None)
        self._stop()

    def _attach(self) -> str:
        """Return the session of the only page."""
        targets = self._send("Target.getTargets", session=None)["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        answer = self._send("Target.attachToTarget", session=None, targetId=target, flatten=True)
        return str(answer["sessionId"])

    def _stop(self) -> None:
        """Wait for the browser to end, and end it if it does not."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while os.waitpid(self._process_id, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline_s:
                os.kill(self._process_id, signal.SIGKILL)
                os.waitpid(self._process_id, 0)
                break
            time.sleep(0.01)
        os.close(self._out)
        os.close(self._in)

    def open(
        self, path: Path, *, width: int = 1320, height: int = 1000, scheme: str = "light"
    ) -> None:
        """Load a file and wait until it is complete; forget earlier errors and requests."""
        self.errors.clear()
        self.requests.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[feature])
        self._events.clear()
        self.send("Page.navigate", url=path.as_uri())
        self._wait_for("Page.loadEventFired")
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 30)))")

    def evaluate(self, expression: str) -> Any:
        """Return the JSON value of an expression in the page; promises are waited for.

        Raises
        ------
        AssertionError
            If it throws.
        """
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def move_mouse(self, x: float, y: float) -> None:
        """Point at a place of the window."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol on the page and return its result."""
        return self._send(method, session=self._session, **parameters)

    def _send(self, method: str, *, session: str | None, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def _wait_for(self, event: str) -> None:
        while not any(one["method"] == event for one in self._events):
            self._receive()

    def _receive(self) -> dict[str, Any]:
        deadline_s = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(deadline_s - time.monotonic(), 0))
            chunk = os.read(self._in, 1 << 20) if ready else b""
            assert chunk, "the browser ended or did not answer"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self._note(message)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        name, about = event["method"], event["params"]
        if name == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif name == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
            self.errors.append(str([one.get("value") for one in about["args"]]))
        elif name == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.errors.append(about["entry"]["text"])
        elif name == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])


def _spawn(words: list[str]) -> tuple[int, int, int]:
    """Start the browser; return its process id, and the ends to read from and to write to."""
    to_browser, writing = os.pipe()
    reading, from_browser = os.pipe()
    # Clear of the numbers 3 and 4, which the copies for the browser take.
    copies = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (to_browser, from_browser)]
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)
    ]
    actions += [
        (os.POSIX_SPAWN_DUP2, copy, number) for copy, number in zip(copies, (3, 4), strict=True)
    ]
    process_id = os.posix_spawn(words[0], words, os.environ, file_actions=actions)
    for end in (to_browser, from_browser, *copies):
        os.close(end)
    return process_id, reading, writing
