// Does what it is told with the official `openai` package: one JSON command a line in, one JSON answer a line out.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const where = createRequire(`${process.env.E2E_NODE}/package.json`).resolve("openai");
const { default: OpenAI } = await import(pathToFileURL(where).href);
const clients = new Map();

function client({ base_url, key }) {
  const id = `${base_url} ${key}`;
  if (!clients.has(id)) clients.set(id, new OpenAI({ baseURL: base_url, apiKey: key, maxRetries: 0, timeout: 30_000 }));
  return clients.get(id);
}

async function run(command) {
  const sdk = client(command);
  switch (command.do) {
    case "list": {
      const models = [];
      for await (const model of sdk.models.list()) models.push(model.id);
      return { models: models.sort() };
    }
    case "retrieve":
      return { model: await sdk.models.retrieve(command.model) };
    case "chat":
      return { answer: await sdk.chat.completions.create(command.body) };
    case "stream": {
      const events = [];
      for await (const event of await sdk.chat.completions.create({ ...command.body, stream: true })) events.push(event);
      return { events };
    }
    case "respond":
      return { answer: await sdk.responses.create(command.body) };
    case "respond_stream": {
      // The SDK itself puts the events together.
      const { stream: _, ...body } = command.body;
      const stream = sdk.responses.stream(body);
      const events = [];
      for await (const event of stream) events.push(event.type);
      return { events, answer: await stream.finalResponse() };
    }
    case "respond_events": {
      const events = [];
      for await (const event of await sdk.responses.create({ ...command.body, stream: true })) events.push(event);
      return { events };
    }
    case "count":
      return { answer: await sdk.responses.inputTokens.count(command.body) };
    case "kept":
      return { answer: await sdk.responses.retrieve(command.body.id) };
    default:
      throw new Error(command.do);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let result;
  try {
    result = await run(JSON.parse(line));
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    result = { error: error.constructor.name, status: error.status, code: error.code, message: error.message };
  }
  console.log(JSON.stringify(result));
}
