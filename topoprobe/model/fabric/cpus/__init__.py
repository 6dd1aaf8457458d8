"""The fabric of flows that CPUs run: turns on a CPU, and stalls by what others draw of memory."""
