"""What single operators of a forward step cost: matrix products, attention, collectives."""
