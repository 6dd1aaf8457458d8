"""Parsing XML that a stranger wrote: no entities, bounded size and depth, one-sentence errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topoprobe.errors import InputError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_BYTES = 64 << 20
# The deepest real tree (a DGX-2 in hwloc's format) has 13 levels; readers recurse.
MAX_DEPTH = 100


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
    from defusedxml.ElementTree import ParseError, fromstring

    if len(data) > MAX_BYTES:
        raise InputError(f"{name} has {len(data)} bytes; topology files have at most {MAX_BYTES}.")
    try:
        root: Element = fromstring(data.strip())
    except ParseError as error:
        raise InputError(f"{name} is not well-formed XML ({error}); is it truncated?") from error
    except defusedxml.DefusedXmlException as error:
        raise InputError(
            f"{name} declares XML entities, which topology files never do; it is not read."
        ) from error
    except (ValueError, LookupError) as error:
        raise InputError(f"{name} cannot be decoded as XML: {error}.") from error
    _check_depth(root, name)
    return root


def integer(text: str | None) -> int | None:
    """Return a decimal or 0x-prefixed integer attribute, or None."""
    if text is None:
        return None
    try:
        return int(text, 16) if text.lower().startswith("0x") else int(text)
    except ValueError:
        return None


def _check_depth(root: Element, name: str) -> None:
    level = [root]
    for _ in range(MAX_DEPTH):
        level = [child for element in level for child in element]
        if not level:
            return
    raise InputError(f"{name} nests elements more than {MAX_DEPTH} deep; it is not read.")
