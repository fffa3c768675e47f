// Sends messages with one of Node.js's clients of syslog:
// node send.js '{"client": "syslog-client" | "winston" | "pino", "port": …, "protocol": …, …}'
// Pino writes to standard output, to be piped through pino-syslog.
"use strict";

const options = JSON.parse(process.argv[2]);

function text(number) {
  // Lower case would be a tag in RFC 3164, which syslog-client leaves out.
  return `Line ${number} of ${options.tag}`;
}

function withSyslogClient() {
  const syslog = require("syslog-client");
  const client = syslog.createClient("127.0.0.1", {
    port: options.port,
    transport: options.protocol === "udp" ? syslog.Transport.Udp : syslog.Transport.Tcp,
    rfc3164: options.form === "3164",
    syslogHostname: "node-1",
    appName: options.tag,
    facility: syslog.Facility.Local1,
  });
  let left = options.count;
  for (let number = 0; number < options.count; number++) {
    const severity = number % 10 === 0 ? syslog.Severity.Error : syslog.Severity.Informational;
    client.log(text(number), { severity }, (error) => {
      if (error) throw error;
      if (--left === 0) client.close();
    });
  }
}

function withWinston() {
  const winston = require("winston");
  const { Syslog } = require("winston-syslog");
  const transport = new Syslog({
    host: "127.0.0.1",
    port: options.port,
    protocol: options.protocol === "udp" ? "udp4" : "tcp4",
    type: options.form,
    localhost: "node-1",
    app_name: options.tag,
    facility: "local1",
    format: winston.format.printf((info) => info.message),
    eol: "\n",
  });
  const logger = winston.createLogger({
    levels: winston.config.syslog.levels,
    transports: [transport],
  });
  for (let number = 0; number < options.count; number++) {
    logger.log(number % 10 === 0 ? "error" : "info", text(number));
  }
  // What is logged before there is a connection waits in a queue, and no event tells of its end.
  const waiting = setInterval(() => {
    if (!transport.connected || transport.queue.length > 0) return;
    clearInterval(waiting);
    transport.socket.end(() => process.exit(0));
  }, 5);
}

function withPino() {
  const logger = require("pino")({ name: options.tag });
  for (let number = 0; number < options.count; number++) {
    logger[number % 10 === 0 ? "error" : "info"](text(number));
  }
}

({ "syslog-client": withSyslogClient, winston: withWinston, pino: withPino })[options.client]();
