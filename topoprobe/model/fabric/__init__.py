"""How flows share links, memories and engines: resources, packets, sharing laws, routes, rates."""
