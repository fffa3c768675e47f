import pytest

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.clock import ManualClock
from obsd.services.log_encoding import encode_logs
from obsd.services.log_metrics.counters import FILE
from tests.api.running_app import running_app
from tests.services.error_tracking.errors import NOW_NS, error_record

PATH = "/api/v1/monitoring/logs/metrics"
OTLP = {"Content-Type": "application/x-protobuf"}
NOW_MS = NOW_NS // 1_000_000


class Counted:
    """An obsd whose time is moved by hand."""

    def __init__(self, app, clock: ManualClock) -> None:
        self.app = app
        self.clock = clock

    async def send(self, *records) -> None:
        answer = await self.app.post("/v1/logs", encode_logs(records), headers=OTLP)
        assert answer.status == 200, answer.text

    async def count(self, seconds: int = 15) -> None:
        self.clock.advance_ms(seconds * 1000)
        await self.app.log_metrics.count()

    async def query(self, expr: str) -> dict[str, float]:
        time_s = self.clock.now_ms() / 1000
        data = await self.app.data("/api/v1/query", {"query": expr, "time": f"{time_s:.3f}"})
        return {
            ",".join(f"{k}={v}" for k, v in sorted(each["metric"].items())): float(each["value"][1])
            for each in data["result"]
        }


@pytest.fixture
async def counted(tmp_path):
    clock = ManualClock(NOW_MS)
    options = LogOptions(granule_rows=16)

    def open_logs(directory) -> LogEngine:
        return LogEngine.open(directory, options, clock)

    async with running_app(tmp_path, clock=clock, open_logs=open_logs) as app:
        yield Counted(app, clock)


async def test_every_project_counts_records_by_service_and_level(counted) -> None:
    await counted.send(
        *(error_record(f"boom {n}") for n in range(5)),
        *(error_record(f"fine {n}", service="web", severity_number=9) for n in range(7)),
    )
    await counted.count()
    assert await counted.query("log_records_total") == {
        "__name__=log_records_total,level=error,service=api": 5.0,
        "__name__=log_records_total,level=info,service=web": 7.0,
    }
    # Also the first records of a series are an increase.
    assert await counted.query('increase(log_records_total{service="web"}[30s])') != {}


async def test_records_are_counted_once_and_late_ones_when_they_come(counted) -> None:
    await counted.send(error_record("one"))
    await counted.count()
    await counted.count()
    await counted.send(error_record("late", time_ns=NOW_NS - 3_600_000_000_000))
    await counted.count()
    assert list((await counted.query("log_records_total")).values()) == [2.0]


async def test_a_rule_counts_what_comes_after_it(counted) -> None:
    await counted.send(error_record("payment 1 refused"))
    rule = '{"name":"refused_total","query":"refused","by":["service","shop.region"],"help":"No."}'
    answer = await counted.app.post(PATH, rule)
    assert (answer.status, answer.json["rule"]["built_in"]) == (201, False)
    await counted.count()
    await counted.send(
        error_record("payment 2 refused", attributes={"shop.region": "eu"}),
        error_record("payment 3 refused", attributes={"shop.region": "eu"}),
        error_record("payment 4 taken", attributes={"shop.region": "eu"}),
    )
    await counted.count()
    assert await counted.query("refused_total") == {
        "__name__=refused_total,service=api,shop_region=eu": 2.0
    }
    metadata = await counted.app.data("/api/v1/metadata", {"metric": "refused_total"})
    assert metadata["refused_total"] == [{"type": "counter", "help": "No.", "unit": ""}]


async def test_a_histogram_of_a_field_answers_quantiles(counted) -> None:
    rule = '{"name":"took_ms","kind":"histogram","field":"took","buckets":[10,20,40]}'
    assert (await counted.app.post(PATH, rule)).status == 201
    await counted.count()
    took = [5] * 50 + [15] * 40 + [30] * 10
    await counted.send(*(error_record(f"r{n}", attributes={"took": t}) for n, t in enumerate(took)))
    await counted.count()
    median = await counted.query("histogram_quantile(0.5, increase(took_ms_bucket[1m]))")
    assert list(median.values()) == [pytest.approx(10.0)]
    assert list((await counted.query("took_ms_sum")).values()) == [50 * 5 + 40 * 15 + 10 * 30]


async def test_counting_goes_on_after_a_crash(counted, tmp_path) -> None:
    await counted.send(error_record("one"))
    await counted.count()
    state = next(tmp_path.rglob(FILE)).read_bytes()
    await counted.send(error_record("two"), error_record("three"))
    await counted.count()
    # The samples were written and the state was not: the same records are counted again.
    next(tmp_path.rglob(FILE)).write_bytes(state)
    counted.app.log_metrics._counters.clear()
    await counted.count()
    assert list((await counted.query("log_records_total")).values()) == [3.0]


async def test_rules_are_listed_replaced_and_removed(counted) -> None:
    await counted.app.post(PATH, '{"name":"x_total","query":"a"}')
    await counted.app.post(PATH, '{"name":"x_total","query":"b"}')
    rules = (await counted.app.get(PATH)).json["rules"]
    assert [(rule["name"], rule["query"]) for rule in rules] == [
        ("log_records_total", ""),
        ("x_total", "b"),
    ]
    assert (await counted.app.request("DELETE", f"{PATH}/x_total")).status == 204
    assert (await counted.app.request("DELETE", f"{PATH}/x_total")).status == 404
    assert len((await counted.app.get(PATH)).json["rules"]) == 1


async def test_a_preview_keeps_nothing(counted) -> None:
    await counted.send(error_record("a"), error_record("b", service="web"))
    answer = await counted.app.post(f"{PATH}/preview", '{"name":"x","by":["service"]}')
    assert answer.json == {
        "series": [
            {"name": "x", "labels": {"service": "api"}, "value": 1.0},
            {"name": "x", "labels": {"service": "web"}, "value": 1.0},
        ],
        "total": 2,
    }
    assert len((await counted.app.get(PATH)).json["rules"]) == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"name":"x","query":"a AND"}', "parse error"),
        ('{"name":"log_records_total"}', "built-in"),
        ('{"name":"x","kind":"mean"}', "kind"),
        ('{"name":"x","more":1}', "more"),
        ("[]", "object"),
        ("{", "no JSON"),
    ],
)
async def test_bad_rules_are_refused(counted, body, says) -> None:
    answer = await counted.app.post(PATH, body)
    assert answer.status == 400
    assert says in answer.json["error"]["message"]


async def test_counts_by_pattern_name_the_patterns(counted) -> None:
    await counted.send(*(error_record(f"user {n} came in") for n in range(3)), error_record("full"))
    params = {"by": "pattern", "from": "2026-01-31T11:00:00Z", "to": "2026-01-31T13:00:00Z"}
    answer = await counted.app.get("/api/v1/monitoring/logs/aggregate", params)
    assert answer.status == 200, answer.text
    totals = {series["value"]: series["total"] for series in answer.json["series"]}
    assert sorted(totals.values()) == [1, 3]
    listed = await counted.app.get(
        "/api/v1/monitoring/logs/patterns", {k: v for k, v in params.items() if k != "by"}
    )
    assert {p["id"]: p["count"] for p in listed.json["patterns"]} == totals
