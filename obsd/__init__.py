"""obsd: metrics, logs and traces in one process, on one machine, with no configuration."""

__version__ = "0.1.0"
