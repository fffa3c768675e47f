// Sends COUNT traces of two spans with one of Node.js's clients, and tells their ids once all of them
// are taken: node send.js '{"client": "jaeger" | "zipkin", "url": …, "count": …}'
"use strict";

const options = JSON.parse(process.argv[2]);
const numbers = [...Array(options.count).keys()];

async function withJaeger() {
  const { initTracer } = require("jaeger-client");
  // The client lets go of what is still on its way when it is closed, so its metrics are watched.
  let left = 2 * options.count;
  let allSent, failed;
  const sent = new Promise((resolve, reject) => ([allSent, failed] = [resolve, reject]));
  const logger = { info: () => {}, error: (text) => failed(new Error(text)) };
  const nothing = { increment: () => {}, record: () => {}, update: () => {} };
  const reported = { increment: (spans) => (left -= spans) <= 0 && allSent() };
  const metrics = {
    createCounter: (name, tags) =>
      name === "jaeger:reporter_spans" && tags.result === "ok" ? reported : nothing,
    createTimer: () => nothing,
    createGauge: () => nothing,
  };
  const tracer = initTracer(
    {
      serviceName: "node-jaeger",
      sampler: { type: "const", param: 1 },
      reporter: { collectorEndpoint: options.url, flushIntervalMs: 50 },
    },
    { logger, metrics, tags: { "service.version": "1.2" } },
  );
  const traces = [];
  for (const number of numbers) {
    const parent = tracer.startSpan("order", { tags: { "span.kind": "server", number } });
    const child = tracer.startSpan("pay", { childOf: parent, tags: { "span.kind": "client" } });
    child.setTag("error", true);
    child.log({
      event: "error",
      "error.kind": "CardError",
      message: `card ${number} was refused`,
    });
    child.finish();
    parent.finish();
    traces.push(parent.context().traceIdStr);
  }
  await sent;
  await new Promise((resolve) => tracer.close(resolve));
  return traces;
}

async function withZipkin() {
  const { BatchRecorder, ExplicitContext, Tracer, jsonEncoder, Annotation } = require("zipkin");
  const { HttpLogger } = require("zipkin-transport-http");
  const logger = new HttpLogger({
    endpoint: options.url,
    jsonEncoder: jsonEncoder.JSON_V2,
    httpInterval: 50,
  });
  const sent = new Promise((resolve, reject) => {
    logger.on("success", resolve);
    logger.on("error", reject);
  });
  const recorder = new BatchRecorder({ logger });
  const tracer = new Tracer({
    ctxImpl: new ExplicitContext(),
    recorder,
    localServiceName: "node-zipkin",
  });
  const traces = [];
  for (const number of numbers) {
    tracer.scoped(() => {
      const id = tracer.createRootId();
      traces.push(id.traceId);
      tracer.setId(id);
      tracer.recordServiceName("node-zipkin");
      tracer.recordRpc("get");
      tracer.recordBinary("number", `${number}`);
      tracer.recordAnnotation(new Annotation.ServerRecv());
      const child = tracer.createChildId();
      tracer.letId(child, () => {
        tracer.recordServiceName("node-zipkin");
        tracer.recordRpc("query");
        tracer.recordAnnotation(new Annotation.ServerAddr({ serviceName: "db" }));
        tracer.recordAnnotation(new Annotation.ClientSend());
        tracer.recordAnnotation(new Annotation.ClientRecv());
      });
      tracer.setId(id);
      tracer.recordAnnotation(new Annotation.ServerSend());
    });
  }
  const alive = setInterval(() => {}, 1000); // The logger's own timer keeps no process alive.
  await sent; // All of it, since nothing above gives a turn to the timer that sends.
  clearInterval(alive);
  return traces;
}

const clients = { jaeger: withJaeger, zipkin: withZipkin };
clients[options.client]()
  .then((traces) => {
    process.stdout.write(`${JSON.stringify(traces)}\n`);
    process.exit(0);
  })
  .catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  });
