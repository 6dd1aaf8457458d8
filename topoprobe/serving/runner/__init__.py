"""The real runner: a torch model, a paged KV cache, and a driver for the scheduler.

Importing this package imports nothing; its modules need torch (the extra ``topoprobe[torch]``).
"""
