"""Documents inside the page as JSON, so that a report can be read back."""

from __future__ import annotations

import html.parser
import re

import msgspec

from topoprobe.errors import InputError
from topoprobe.records.documents import Document, decode

# Characters that could end the script element, open a comment, count as a line end for an old
# JavaScript parser, or are forbidden in HTML. JSON may write any of them as an escape.
_UNSAFE = re.compile("[<>&\u2028\u2029\x7f-\x9f]")
_TYPE = "application/json"


def embed(document: Document) -> str:
    """Return a document as JSON that is safe inside a script element."""
    text = msgspec.json.encode(document).decode()
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def documents_of(data: bytes, name: str = "the file") -> tuple[Document, ...]:
    """Return the documents of a file: the one it is, or those inside a report.

    Parameters
    ----------
    data : bytes
        JSON of a document, or the HTML of a report.
    name : str
        How error messages call it.

    Raises
    ------
    InputError
        If it is neither, or does not validate.
    """
    if data.lstrip()[:1] != b"<":
        return (decode(data, name),)
    reader = _Reader()
    reader.feed(data.decode(errors="replace"))
    if not reader.texts:
        raise InputError(f"{name} is a page without topoprobe documents; give a report.")
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
