"""What the scheduler asks at each decision: one folder per axis, one file per policy."""
