"""Which running request gives way when KV blocks run out."""
