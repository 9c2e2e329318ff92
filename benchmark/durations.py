"""Time spans as text."""


def duration(seconds: float) -> str:
    """Return a time span as text: "45 s", "3.4 min", "2 h"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    hours = seconds / 3600
    if hours < 1:
        return f"{seconds / 60:.2g} min"
    return f"{hours:.3g} h" if hours < 100 else f"{hours:.0f} h"
