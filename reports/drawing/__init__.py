"""SVG drawings as text: values in, markup out, colours by CSS class only.

Marks carry their exact numbers in a ``<title>``, which the page turns into a tooltip; a drawing
therefore still explains itself where there is no JavaScript.
"""
