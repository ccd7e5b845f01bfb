"""Whether the server takes requests: after a first token, until it is asked to end."""

from dataclasses import dataclass

PROBES = {"/healthz", "/readyz", "/health"}  # answered to everybody, at any time


@dataclass
class Readiness:
    """What probes are told, and how many requests are being answered."""

    is_warm: bool = False  # a first token was made
    warmup_failure: str = ""
    is_draining: bool = False  # it ends when those who are being answered have their answers
    num_active: int = 0

    def status(self) -> str:
        """ready, loading, failed or draining."""
        if self.is_draining:
            return "draining"
        if self.warmup_failure:
            return "failed"
        return "ready" if self.is_warm else "loading"
