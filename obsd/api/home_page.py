"""The start page's text: HTML, one style sheet, and a script that keeps the figures current.

It asks nobody but obsd, and says all it has to say without the script too.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; --fg: #1c2330; --dim: #5c6778; --bg: #fbfbfd; --card: #fff;
  --line: #e2e6ee; --accent: #0b6e66; --code: #f2f4f8; }
@media (prefers-color-scheme: dark) { :root { --fg: #e4e8f0; --dim: #98a3b6; --bg: #10141b;
  --card: #171c26; --line: #283041; --accent: #4fd1c5; --code: #0c1017; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; margin: 0; letter-spacing: -0.02em; }
h1 small { font-size: 0.95rem; font-weight: 400; color: var(--dim); letter-spacing: 0; }
h2 { font-size: 1.05rem; margin: 2.4rem 0 0.7rem; }
p { margin: 0.4rem 0; overflow-wrap: anywhere; } .dim { color: var(--dim); }
.state { color: var(--accent); font-weight: 600; }
.lost .state, .lost dd { color: var(--dim); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(14rem, 45%), 1fr));
  gap: 0.8rem; margin: 1.4rem 0 0; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: 0.6rem;
  padding: 0.8rem 1rem; }
dt { color: var(--dim); font-size: 0.85rem; }
dd { margin: 0.1rem 0 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
dd.text { font-size: 0.95rem; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 0.6rem;
  padding: 0.8rem 1rem; overflow-x: auto; user-select: all; font-size: 0.86rem; line-height: 1.5; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
a { color: var(--accent); }
ul { padding-left: 1.2rem; }
"""

# Takes the figures out of the page as it is then; what somebody has selected below them stays.
_SCRIPT: Final = """
const live = document.getElementById("live");
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/", {signal: AbortSignal.timeout(4000)});
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    live.replaceChildren(...page.getElementById("live").childNodes);
    live.classList.remove("lost");
  } catch {
    live.classList.add("lost");
    live.querySelector(".state").textContent = "not answering";
  }
}
setInterval(refresh, 5000);
document.addEventListener("visibilitychange", refresh);
"""


def _source_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


STYLE_HASH: Final = _source_hash(_STYLE)
SCRIPT_HASH: Final = _source_hash(_SCRIPT)

PAGE: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>obsd</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>obsd <small>$version</small></h1>
<div id="live">
<p><span class="state">$state</span> <span class="dim">· up $uptime · data in <code>$data_dir</code>
· kept $retention</span></p>

<dl>
<div><dt>Samples per second, now</dt><dd>$rate</dd></div>
<div><dt>Active series</dt><dd>$series</dd></div>
<div><dt>Samples since the start</dt><dd>$samples</dd></div>
<div><dt>Log records per second, now</dt><dd>$log_rate</dd></div>
<div><dt>Log records since the start</dt><dd>$records</dd></div>
<div><dt>Spans per second, now</dt><dd>$span_rate</dd></div>
<div><dt>Spans since the start</dt><dd>$spans</dd></div>
<div><dt>On disk</dt><dd>$size</dd></div>
<div><dt>Projects</dt><dd>$projects</dd></div>
<div><dt>This host's own metrics</dt><dd class="text">$host</dd></div>
</dl>
</div>
$token_note
<h2>Send metrics from Prometheus</h2>
<p class="dim">In prometheus.yml; the same for Prometheus' agent mode and for vmagent.</p>
<pre><code>remote_write:
  - url: $url/api/v1/write$prometheus_token</code></pre>

<h2>Send metrics with curl</h2>
<pre><code>echo 'room_temperature_celsius{{room="kitchen"}} 21.5' |
  curl -sS$curl_token --data-binary @- $url/api/v1/import/prometheus</code></pre>

<h2>Send logs and traces</h2>
<p class="dim">OpenTelemetry SDKs and Collectors bring logs, traces and metrics over OTLP/HTTP, with
<code>OTEL_EXPORTER_OTLP_ENDPOINT=$url</code>. Promtail and Alloy push to
<code>$url/loki/api/v1/push</code>, Zipkin's reporters to <code>$url/api/v2/spans</code>.</p>
<pre><code>echo '{{"level":"info","service":"kitchen","message":"the kettle boils"}}' |
  curl -sS$curl_token --data-binary @- $url/ingest/jsonline</code></pre>

<h2>Ask</h2>
<pre><code>obsd query 'rate(node_cpu_seconds_total{{mode!="idle"}}[1m])' --url $url</code></pre>
<pre><code>obsd logs 'level:&gt;=warn service:api* -path:/health' --since 6h --url $url</code></pre>
<pre><code>curl -sS$curl_token $url/api/v1/query --data-urlencode 'query=node_load1'</code></pre>
<p class="dim">In Grafana, add a data source of type Prometheus with the URL
<code>$url</code>$grafana_token. The dashboard "Node Exporter Full" shows this host as it is.</p>

<h2>More</h2>
<ul>
<li><a href="/metrics">/metrics</a>: obsd's own metrics</li>
<li><a href="/api/v1/status/tsdb">/api/v1/status/tsdb</a>: where series come from</li>
<li><a href="/api/v1/status/config">/api/v1/status/config</a>: the configuration</li>
<li><a href="/-/ready">/-/ready</a>: for load balancers</li>
<li>The documentation is in the <code>docs/</code> directory of the distribution; every command
explains itself with <code>--help</code>.</li>
</ul>
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""
