"""The fabric of machines that a network joins, and the text that describes them."""
