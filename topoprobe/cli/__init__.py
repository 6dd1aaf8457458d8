"""The command line: one file per command. Only this folder prints, exits and opens output files."""
