"""What becomes of a victim's KV cache."""
