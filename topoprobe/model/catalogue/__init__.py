"""Figures that were looked up and not measured: devices, model shapes; each with its source."""
