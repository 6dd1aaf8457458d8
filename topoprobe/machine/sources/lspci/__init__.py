"""What `lspci` prints, each of its outputs in a file."""
