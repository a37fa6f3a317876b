// Does what it is told with the official `openai` package: one JSON command a line in, one JSON answer a line out.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const where = createRequire(`${process.env.E2E_NODE}/package.json`).resolve("openai");
const { default: OpenAI, toFile } = await import(pathToFileURL(where).href);
const clients = new Map();

function client({ base_url, key }) {
  const id = `${base_url} ${key}`;
  if (!clients.has(id)) clients.set(id, new OpenAI({ baseURL: base_url, apiKey: key, maxRetries: 0, timeout: 30_000 }));
  return clients.get(id);
}

async function gathered(stream) {
  const events = [];
  for await (const event of await stream) events.push(event);
  return { events };
}

async function run(command) {
  const sdk = client(command);
  const { file: encoded = "", ...body } = command.body;
  const bytes = Buffer.from(encoded, "base64");
  const file = (name, type) => toFile(bytes, name, { type });
  switch (command.do) {
    case "embed":
      return { answer: await sdk.embeddings.create(body) };
    case "moderate":
      return { answer: await sdk.moderations.create(body) };
    case "image":
      return { answer: await sdk.images.generate(body) };
    case "image_stream":
      return gathered(sdk.images.generate({ ...body, stream: true }));
    case "edit":
      return { answer: await sdk.images.edit({ ...body, image: [await file("a.png", "image/png"), await file("b.png", "image/png")] }) };
    case "speak":
      return { answer: Buffer.from(await (await sdk.audio.speech.create(body)).arrayBuffer()).toString("base64") };
    case "transcribe":
      return { answer: await sdk.audio.transcriptions.create({ ...body, file: await file("a.wav") }) };
    case "transcribe_stream":
      return gathered(sdk.audio.transcriptions.create({ ...body, stream: true, file: await file("a.wav") }));
    case "translate":
      return { answer: await sdk.audio.translations.create({ ...body, file: await file("a.wav") }) };
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
