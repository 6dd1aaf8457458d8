"""How people read the documents: one self-contained HTML page, no network, no JavaScript library.

`page` puts it together. Every section is a module with a payload function (documents in, a small
record of what is shown out, tested by itself) and a template; `drawing` turns payloads into SVG
text. Nothing here opens files or knows the time.
"""
