"""Drives: where they are mounted, and a scratch file on them."""
