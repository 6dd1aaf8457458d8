"""The virtual driver: a clock, a cost law and true output lengths, obeying the scheduler."""
