"""What is asked of a run: traces, arrival processes, and the clients that submit them."""
