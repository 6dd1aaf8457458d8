"""topoprobe: how a GPU server is wired, what its links give under load, and what to do about it."""

from pathlib import Path

__version__ = "0.1.0"

# In a wheel the outer folders (microbench, cuda, reports) live inside this package; in a source
# checkout they are its siblings. Extending the search path gives both the same import names.
_here = Path(__file__).parent
if not (_here / "microbench").is_dir():
    __path__.append(str(_here.parent))
