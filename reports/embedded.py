"""Documents inside the page as JSON, so that a report can be read back."""

from __future__ import annotations

import html.parser
import re

import msgspec

from topoprobe.errors import InputError
from topoprobe.records.documents import Document, decode

# Nothing in these script elements can end the element, open a comment, or be taken for a line end
# by an old JavaScript parser; all of it is still JSON.
_ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
_UNSAFE = re.compile("[<>&\u2028\u2029]")
_TYPE = "application/json"


def embed(document: Document) -> str:
    """Return a document as JSON that is safe inside a script element."""
    text = msgspec.json.encode(document).decode()
    return _UNSAFE.sub(lambda match: _ESCAPES[match[0]], text)


def is_page(data: bytes) -> bool:
    """Tell whether a file looks like a report rather than a JSON document."""
    return data.lstrip()[:15].lower() == b"<!doctype html>"


def extract(page: str, name: str = "the page") -> tuple[Document, ...]:
    """Return the documents inside a report.

    Parameters
    ----------
    page : str
        The HTML text of a report.
    name : str
        How error messages call it.

    Raises
    ------
    InputError
        If it holds no document, or one that does not validate.
    """
    reader = _Reader()
    reader.feed(page)
    if not reader.texts:
        raise InputError(f"{name} is an HTML page without topoprobe documents; give a report.")
    return tuple(decode(text.encode(), name) for text in reader.texts)


class _Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._is_inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_inside = tag == "script" and ("type", _TYPE) in attrs
        if self._is_inside:
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._is_inside = False

    def handle_data(self, data: str) -> None:
        if self._is_inside:
            self.texts[-1] += data
