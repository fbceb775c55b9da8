"""Sizes that no machine has: said before any work, in place of a traceback after a minute."""

import os
import pathlib

import jax

CGROUP = pathlib.Path("/sys/fs/cgroup/memory.max")


def check_memory(needs: dict[str, float]) -> None:
    """Raise ``ValueError`` if something takes more memory than there is.

    Args:
        needs: bytes, at least, of each thing, by the setting or the argument that it grows with.
    """
    there = available()
    for name, need in needs.items():
        if need > there:
            raise ValueError(
                f"{name}: expected a size that fits into {_told(there)} of memory, got one that "
                f"needs at least {_told(need)}"
            )


def available() -> float:
    """Return the bytes of memory of the first device, or of the host if that is a CPU."""
    device = jax.local_devices()[0]
    stats = None if device.platform == "cpu" else device.memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    if not hasattr(os, "sysconf"):
        return float("inf")
    host = float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    text = CGROUP.read_text().strip() if CGROUP.is_file() else ""
    return min(host, float(text)) if text.isdigit() else host


def _told(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.3g} GB"
