"""Parsing XML that a stranger wrote: no entities, bounded size and depth, one-sentence errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topoprobe.errors import InputError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element, TreeBuilder

MAX_BYTES = 64 << 20
# The deepest real tree (a DGX-2 in hwloc's format) has 13 levels, and readers recurse; the longest
# has 5,000 elements.
MAX_DEPTH = 100
MAX_ELEMENTS = 200_000


def parse(data: bytes, name: str) -> Element:
    """Return the root element of an XML text.

    Parameters
    ----------
    data : bytes
        The text; blank lines before the declaration are tolerated.
    name : str
        How error messages call it.

    Raises
    ------
    InputError
        If it is too big, too deep, not well formed, or declares entities.
    """
    import defusedxml
    from defusedxml.ElementTree import ParseError, XMLParser

    if len(data) > MAX_BYTES:
        raise InputError(f"{name} has {len(data)} bytes; topology files have at most {MAX_BYTES}.")
    parser = XMLParser(target=_bounded_builder(name))
    try:
        parser.feed(data.strip())
        root: Element = parser.close()
    except ParseError as error:
        raise InputError(f"{name} is not well-formed XML ({error}); is it truncated?") from error
    except defusedxml.DefusedXmlException as error:
        raise InputError(
            f"{name} declares XML entities, which topology files never do; it is not read."
        ) from error
    except (ValueError, LookupError) as error:
        raise InputError(f"{name} cannot be decoded as XML: {error}.") from error
    return root


def integer(text: str | None) -> int | None:
    """Return a decimal or 0x-prefixed integer attribute; None if it is none of 64 bits."""
    if text is None:
        return None
    try:
        number = int(text, 16) if text.lower().startswith("0x") else int(text)
    except ValueError:
        return None
    return number if abs(number) < 1 << 63 else None


def _bounded_builder(name: str) -> TreeBuilder:
    """Return what builds the tree, and stops as soon as that gets too deep or too big."""
    from xml.etree.ElementTree import TreeBuilder

    class Builder(TreeBuilder):
        depth = num_elements = 0

        def start(self, tag: str, attrs: dict[str, str], /) -> Element:
            self.depth += 1
            self.num_elements += 1
            if self.depth > MAX_DEPTH:
                raise InputError(
                    f"{name} nests elements more than {MAX_DEPTH} deep; it is not read."
                )
            if self.num_elements > MAX_ELEMENTS:
                raise InputError(f"{name} has more than {MAX_ELEMENTS} elements; it is not read.")
            return super().start(tag, attrs)

        def end(self, tag: str, /) -> Element:
            self.depth -= 1
            return super().end(tag)

    return Builder()
