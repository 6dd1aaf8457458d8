"""Deciding what runs when: requests, KV blocks, the scheduler, and the drivers that obey it."""
