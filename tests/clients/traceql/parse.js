// Reads queries, one JSON text a line, and tells for each whether Grafana's grammar takes it.
import { createInterface } from "node:readline";
import { parser } from "@grafana/lezer-traceql";

for await (const line of createInterface({ input: process.stdin })) {
  let errors = 0;
  parser.parse(JSON.parse(line)).iterate({
    enter: (node) => {
      errors += node.type.isError ? 1 : 0;
    },
  });
  console.log(errors === 0);
}
