"""Where the server is in its life."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum


class Phase(Enum):
    """The value is the reason that `/-/ready` gives."""

    REPLAYING = "replaying the write-ahead log"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(slots=True)
class ServerState:
    """Event loop only."""

    phase: Phase = Phase.REPLAYING
    started_s: float = field(default_factory=time.time)

    @property
    def is_ready(self) -> bool:
        return self.phase is Phase.READY
