"""Records that are errors."""

from collections.abc import Mapping

from obsd.model.log_record import LogRecord, Value

NOW_NS = 1_769_860_800_000_000_000


def error_record(
    body: str,
    *,
    time_ns: int = NOW_NS,
    service: str = "api",
    version: str = "",
    trace_id: str = "",
    attributes: Mapping[str, Value] | None = None,
    severity_number: int = 17,
) -> LogRecord:
    return LogRecord(
        time_ns=time_ns,
        observed_ns=time_ns,
        severity_number=severity_number,
        severity_text="",
        service=service,
        body=body,
        trace_id=trace_id,
        span_id="",
        resource={"service.version": version} if version else {},
        attributes=attributes or {},
    )
