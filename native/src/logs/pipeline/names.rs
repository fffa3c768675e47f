//! The names under which loggers write what every record has. Of several, the first that fits
//! counts; dots lead into maps.

pub const LEVEL: [&str; 18] = [
    "level",
    "severity",
    "lvl",
    "log.level",
    "loglevel",
    "log_level",
    "levelname",
    "level_name",
    "@level",
    "severity_text",
    "detected_level",
    "severityText",
    "logLevel",
    "Level",
    "LEVEL",
    "Severity",
    "@l",
    "at",
];

pub const TIME: [&str; 12] = [
    "_time",
    "@timestamp",
    "timestamp",
    "time",
    "ts",
    "date",
    "@t",
    "datetime",
    "asctime",
    "Timestamp",
    "eventTime",
    "timeMillis",
];

pub const MESSAGE: [&str; 12] = [
    "_msg",
    "message",
    "log",
    "msg",
    "body",
    "@m",
    "full_message",
    "short_message",
    "Message",
    "@message",
    "@mt",
    "event",
];

pub const SERVICE: [&str; 8] = [
    "service.name",
    "service_name",
    "service",
    "app",
    "application",
    "serviceName",
    "dd.service",
    "otelServiceName",
];

pub const TRACE: [&str; 11] = [
    "trace_id",
    "traceId",
    "traceID",
    "traceid",
    "trace.id",
    "otelTraceID",
    "TraceId",
    "@tr",
    "dd.trace_id",
    "otel.trace_id",
    "logging.googleapis.com/trace",
];

pub const SPAN: [&str; 11] = [
    "span_id",
    "spanId",
    "spanID",
    "spanid",
    "span.id",
    "otelSpanID",
    "SpanId",
    "@sp",
    "dd.span_id",
    "otel.span_id",
    "logging.googleapis.com/spanId",
];

/// All of them, by what they name.
pub const ALL: [(&str, &[&str]); 6] = [
    ("level", &LEVEL),
    ("time", &TIME),
    ("message", &MESSAGE),
    ("service", &SERVICE),
    ("trace", &TRACE),
    ("span", &SPAN),
];
