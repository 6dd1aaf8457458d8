"""The devices that measurements run on, and the readers of their state."""
