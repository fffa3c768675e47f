// Sends records with one of Node.js's clients, and says so once all of them are acknowledged:
// node send.js '{"client": "fluent-org" | "fluent-logger", "port": …, "count": …, …}'
"use strict";

const options = JSON.parse(process.argv[2]);

function record(number) {
  return { message: `line ${number}`, number, level: number % 10 === 0 ? "error" : "info" };
}

async function withFluentOrg() {
  const { FluentClient } = require("@fluent-org/logger");
  const client = new FluentClient(options.tag, {
    eventMode: options.mode,
    ack: { ackTimeout: 20000 },
    socket: { host: "127.0.0.1", port: options.port, timeout: 20000 },
    security: options.security,
    flushInterval: 20,
  });
  const sent = [];
  for (let number = 0; number < options.count; number++) {
    sent.push(client.emit("node", record(number)));
  }
  await Promise.all(sent);
  await client.shutdown();
}

async function withFluentLogger() {
  const logger = require("fluent-logger").createFluentSender(options.tag, {
    host: "127.0.0.1",
    port: options.port,
    timeout: 20,
    requireAckResponse: true,
    ackResponseTimeout: 20000,
    eventMode: options.mode,
    security: options.security,
    tls: options.ca !== undefined,
    tlsOptions: options.ca && { ca: require("fs").readFileSync(options.ca) },
  });
  const failed = new Promise((_, reject) => logger.on("error", reject));
  const emit = (number) =>
    new Promise((resolve, reject) =>
      logger.emit("node", record(number), (error) => (error ? reject(error) : resolve())),
    );
  const sent = [];
  for (let number = 0; number < options.count; number++) {
    sent.push(emit(number));
  }
  await Promise.race([Promise.all(sent), failed]);
  await new Promise((resolve) => logger.end(null, null, resolve));
}

const run = options.client === "fluent-org" ? withFluentOrg : withFluentLogger;
run().then(
  () => console.log("acknowledged"),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
