"""What `nvidia-smi` prints, each of its outputs in a file."""
