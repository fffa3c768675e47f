"""This machine's own metrics, under node_exporter's names (docs/host-metrics.md)."""

from obsd.services.host.collector import HostCollector

__all__ = ["HostCollector"]
