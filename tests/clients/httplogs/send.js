// Sends records with one of Node.js's clients, and says so once all of them are taken:
// node send.js '{"client": "elasticsearch" | "splunk" | "winston-loki" | "pino-loki", "url": …, "count": …}'
"use strict";

const options = JSON.parse(process.argv[2]);
const numbers = [...Array(options.count).keys()];

async function withElasticsearch() {
  const { Client } = require("@elastic/elasticsearch");
  const client = new Client({ node: options.url, compression: options.compression });
  const { version } = await client.info();
  const result = await client.helpers.bulk({
    datasource: numbers.map((number) => ({
      "@timestamp": new Date().toISOString(),
      message: `line ${number}`,
      number,
    })),
    onDocument: (document) => ({ create: { _index: options.index, _id: `${document.number}` } }),
    onDrop: (dropped) => {
      throw new Error(JSON.stringify(dropped));
    },
  });
  const { count } = await client.count({ index: options.index });
  await client.close();
  return { version: version.number, taken: result.successful, count };
}

async function withSplunk() {
  const { Logger } = require("splunk-logging");
  // Each by itself, or all together by hand.
  const logger = new Logger({
    token: "token",
    url: options.url,
    maxBatchCount: options.batched ? 0 : 1,
  });
  logger.error = (error) => {
    throw error;
  };
  const answer = (call) =>
    new Promise((resolve, reject) =>
      call((error, _, body) => (error ? reject(error) : resolve(body))),
    );
  const sent = [];
  for (const number of numbers) {
    const metadata = { source: "node", sourcetype: "lines", host: "h1" };
    const event = { message: { message: `line ${number}`, number }, severity: "error", metadata };
    if (options.batched) logger.send(event);
    else sent.push(answer((callback) => logger.send(event, callback)));
  }
  if (options.batched) sent.push(answer((callback) => logger.flush(callback)));
  return { answers: await Promise.all(sent) };
}

async function withWinstonLoki() {
  const { createLogger } = require("winston");
  const LokiTransport = require("winston-loki");
  const transport = new LokiTransport({
    host: options.url,
    json: options.json,
    labels: { app: "node" },
    interval: 1,
    replaceTimestamp: true,
    onConnectionError: (error) => {
      throw error;
    },
  });
  const logger = createLogger({ level: "debug", transports: [transport] });
  for (const number of numbers) logger.warn(`line ${number}`);
  await transport.flush();
  return { taken: numbers.length };
}

async function withPinoLoki() {
  const pino = require("pino");
  const transport = pino.transport({
    target: "pino-loki",
    options: {
      host: options.url,
      labels: { app: "pino" },
      batching: { interval: 1 },
      structuredMetaKey: "meta",
    },
  });
  const logger = pino({ level: "debug" }, transport);
  for (const number of numbers) logger.error({ meta: { number: `${number}` } }, `line ${number}`);
  await new Promise((resolve) => logger.flush(resolve));
  // The transport's worker does not keep the process alive.
  setTimeout(() => {}, 30000);
  transport.end();
  await new Promise((resolve) => transport.on("close", resolve));
  return { taken: numbers.length };
}

const clients = {
  elasticsearch: withElasticsearch,
  splunk: withSplunk,
  "winston-loki": withWinstonLoki,
  "pino-loki": withPinoLoki,
};

clients[options.client]().then(
  (answer) => {
    console.log(JSON.stringify(answer));
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
