"""Run the command line with ``python3 -m topoprobe``."""

from topoprobe.cli.main import main

if __name__ == "__main__":
    main()
