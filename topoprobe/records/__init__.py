"""The four documents that topoprobe exchanges: machine, results, calibration, run.

`machine`, `results`, `calibration` and `run` define them as frozen records; `documents` reads,
writes and validates them; `upgrades` brings older versions up to date; `schemas` publishes them.
"""
