"""Which tokens make up the next step."""
