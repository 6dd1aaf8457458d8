"""The CPU as an asynchronous device, and the kernels that measure it."""
