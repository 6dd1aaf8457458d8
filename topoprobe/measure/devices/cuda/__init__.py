"""The CUDA device through CuPy, and the kernels of the folder `cuda/`."""
