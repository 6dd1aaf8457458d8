"""Measuring, without a device: samples, statistics, stability, flow grammar, common windows."""
