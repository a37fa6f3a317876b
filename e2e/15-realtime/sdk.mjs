// The official `openai` SDK for Node.js in a session, and `ws` as a browser would connect: one JSON command a line.
import { connect } from "node:net";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.E2E_NODE}/`);
const OpenAI = require("openai").default;
const { OpenAIRealtimeWS } = require("openai/realtime/ws");
const WebSocket = require("ws");

let socket;
let events = [];
let closed = null;
let wake = () => {};

function listen(raw) {
  [socket, events, closed] = [raw, [], null];
  raw.on("message", (data) => { events.push(JSON.parse(data.toString())); wake(); });
  raw.on("close", (code) => { closed = code; wake(); });
}

const opened = (raw) =>
  new Promise((resolve, reject) => {
    raw.on("open", resolve);
    raw.on("unexpected-response", (_, response) => reject(Object.assign(new Error("refused"), { status: response.statusCode })));
    raw.on("error", reject);
  });

// The SDK always asks for TLS; here it speaks without.
const plainly = ({ host, port }) => connect({ host, port });

const next = () => new Promise((resolve) => { wake = resolve; });

async function act(command) {
  switch (command.do) {
    case "connect": {
      const client = new OpenAI({ baseURL: command.base_url, apiKey: command.key });
      const session = new OpenAIRealtimeWS({ model: command.model, options: { createConnection: plainly } }, client);
      session.on("error", () => {});
      listen(session.socket);
      await opened(session.socket);
      break;
    }
    case "browser": {
      const url = command.base_url.replace("http", "ws") + `/realtime?model=${encodeURIComponent(command.model)}`;
      const raw = new WebSocket(url, ["realtime", `openai-insecure-api-key.${command.key}`]);
      listen(raw);
      raw.on("error", () => {});
      await opened(raw);
      break;
    }
    case "send":
      socket.send(JSON.stringify(command.event));
      return {};
    case "end":
      socket.close(1000, "over");
      while (closed === null) await next();
      return { close: closed };
    case "until":
      break;
  }
  const types = command.types ?? ["session.created"];
  for (;;) {
    const at = events.findIndex((event) => types.includes(event.type));
    if (at >= 0) return { events: events.splice(0, at + 1), protocol: socket.protocol };
    if (closed !== null) return { error: "closed", close: closed, events };
    await next();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    told = await act(JSON.parse(line));
  } catch (error) {
    told = { error: error.name, message: error.message, status: error.status ?? null };
  }
  process.stdout.write(JSON.stringify(told) + "\n");
}
