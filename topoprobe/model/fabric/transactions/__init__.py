"""Packets of concurrent streams, one by one, through ports with queues, credits and arbiters."""
