"""The fabric of one machine: its resources, how flows go through it, and why no faster."""
