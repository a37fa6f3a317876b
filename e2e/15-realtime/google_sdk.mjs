// The official `@google/genai` in a session of Live: one JSON command a line, one JSON answer a line.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import path from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(path.join(process.env.E2E_NODE, "x.js"));
const { GoogleGenAI } = await import(pathToFileURL(require.resolve("@google/genai")).href);

let session, messages, closed, wake;
const arrived = () => {
  if (wake) wake();
};

async function come(done) {
  const until = Date.now() + 30000;
  const got = [];
  for (;;) {
    while (messages.length) {
      got.push(messages.shift());
      if (done(got.at(-1))) return { messages: got };
    }
    if (closed) return { messages: got, code: closed.code, message: closed.reason };
    if (Date.now() > until) return { messages: got, error: "nothing came" };
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, 200);
    });
  }
}

async function run(command) {
  switch (command.do) {
    case "connect": {
      messages = [];
      closed = undefined;
      const ai = new GoogleGenAI({ apiKey: command.key, httpOptions: { baseUrl: command.base_url } });
      const refused = new Promise((_, reject) => {
        wake = () => closed && reject(new Error(`closed with ${closed.code}: ${closed.reason}`));
      });
      const connects = ai.live.connect({
        model: command.model,
        config: command.config ?? {},
        callbacks: {
          onmessage: (message) => {
            messages.push(JSON.parse(JSON.stringify(message)));
            arrived();
          },
          onclose: (event) => {
            closed = { code: event.code, reason: event.reason };
            arrived();
          },
          onerror: (event) => {
            closed ??= { code: 0, reason: String(event.message ?? event.error ?? "error") };
            arrived();
          },
        },
      });
      connects.catch(() => {});
      session = await Promise.race([connects, refused]);
      return come((message) => message.setupComplete);
    }
    case "say":
      session.sendClientContent({ turns: [{ role: "user", parts: [{ text: command.text }] }], turnComplete: true });
      break;
    case "sound":
      session.sendRealtimeInput({ audio: { data: command.sound, mimeType: "audio/pcm;rate=16000" } });
      break;
    case "end":
      session.close();
      return {};
    default:
      throw new Error(command.do);
  }
  return come((message) => message.serverContent?.turnComplete || message.toolCall);
}

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    told = await run(JSON.parse(line));
  } catch (error) {
    told = { error: error.name, message: String(error.message ?? error) };
  }
  console.log(JSON.stringify(told));
}
