// Does what it is told with the official packages for Node.js: one JSON command a line in, one JSON answer a line out.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.E2E_NODE}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

const { default: Anthropic } = await load("@anthropic-ai/sdk");
const { GoogleGenAI } = await load("@google/genai");
const { APICallError, generateText, jsonSchema, stepCountIs, streamText, tool } = await load("ai");
const { createOpenAI } = await load("@ai-sdk/openai");
const { createAnthropic } = await load("@ai-sdk/anthropic");
const { createGoogleGenerativeAI } = await load("@ai-sdk/google");

// `ai` tells on the console of settings that a model ignores.
globalThis.AI_SDK_LOG_WARNINGS = false;

/** Models of the `ai` package, by the provider's package. */
const vercel = {
  "ai-chat": (url, apiKey, model) => createOpenAI({ baseURL: `${url}/v1`, apiKey }).chat(model),
  "ai-responses": (url, apiKey, model) => createOpenAI({ baseURL: `${url}/v1`, apiKey }).responses(model),
  "ai-anthropic": (url, apiKey, model) => createAnthropic({ baseURL: `${url}/v1`, apiKey })(model),
  "ai-google": (url, apiKey, model) => createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey })(model),
};

/** `ai`: it calls the tools and asks again by itself. */
async function withVercel({ client, base_url, key, model, stream, system, text, image, tools, result }) {
  const declared = tools.map(({ name, description, schema }) => {
    const told = { description, inputSchema: jsonSchema(schema) };
    return [name, tool(result === undefined ? told : { ...told, execute: async () => result })];
  });
  const call = {
    model: vercel[client](base_url, key, model),
    system,
    messages: [{ role: "user", content: [{ type: "text", text }, { type: "image", image, mediaType: "image/png" }] }],
    tools: Object.fromEntries(declared),
    maxRetries: 0,
    maxOutputTokens: 64,
    // Whole items instead of references to kept ones: in front of other providers nothing is kept.
    providerOptions: { openai: { store: false } },
    stopWhen: stepCountIs(2),
  };
  const calls = (made) => made.map((one) => [one.toolName, one.input]);
  if (!stream) {
    const got = await generateText(call);
    return { words: got.text, calls: calls(got.toolCalls), pieces: 1 };
  }
  let failed;
  const got = streamText({ ...call, onError: ({ error }) => void (failed = error) });
  let pieces = 0;
  for await (const part of got.fullStream) pieces += part.type === "text-delta";
  if (failed) throw failed;
  return { words: await got.text, calls: calls(await got.toolCalls), pieces };
}

async function withAnthropic({ base_url, key, model, stream, system, text, image, tools, result }) {
  const sdk = new Anthropic({ baseURL: base_url, apiKey: key, authToken: null, maxRetries: 0, timeout: 30_000 });
  const source = { type: "base64", media_type: "image/png", data: image };
  const messages = [{ role: "user", content: [{ type: "text", text }, { type: "image", source }] }];
  const input = tools.map(({ name, description, schema }) => ({ name, description, input_schema: schema }));
  const ask = async () => {
    const body = { model, max_tokens: 64, system, messages, tools: input };
    if (!stream) return { message: await sdk.messages.create(body), pieces: 1 };
    let pieces = 0;
    const events = sdk.messages.stream(body).on("text", () => void pieces++);
    return { message: await events.finalMessage(), pieces };
  };
  let got = await ask();
  const uses = got.message.content.filter((block) => block.type === "tool_use");
  if (result !== undefined) {
    messages.push({ role: "assistant", content: got.message.content });
    messages.push({ role: "user", content: uses.map(({ id }) => ({ type: "tool_result", tool_use_id: id, content: result })) });
    got = await ask();
  }
  const blocks = got.message.content;
  const words = blocks.filter((block) => block.type === "text").map((block) => block.text);
  const calls = blocks.filter((block) => block.type === "tool_use").map((block) => [block.name, block.input]);
  return { words: words.join(""), calls, pieces: got.pieces };
}

async function withGoogle({ base_url, key, model, stream, system, text, image, tools, result }) {
  const options = { baseUrl: base_url, timeout: 30_000 };
  const sdk = new GoogleGenAI({ apiKey: key, vertexai: false, httpOptions: options });
  const contents = [{ role: "user", parts: [{ text }, { inlineData: { mimeType: "image/png", data: image } }] }];
  const declared = tools.map(({ name, description, schema }) => ({ name, description, parametersJsonSchema: schema }));
  const ask = async () => {
    const call = { model, contents, config: { systemInstruction: system, tools: [{ functionDeclarations: declared }] } };
    const answers = [];
    if (stream) for await (const part of await sdk.models.generateContentStream(call)) answers.push(part);
    else answers.push(await sdk.models.generateContent(call));
    const parts = answers.flatMap((answer) => answer.candidates?.[0]?.content?.parts ?? []);
    return { parts, pieces: answers.length };
  };
  let got = await ask();
  if (result !== undefined) {
    const made = got.parts.flatMap((part) => part.functionCall ?? []);
    contents.push({ role: "model", parts: got.parts });
    const told = made.map(({ id, name }) => ({ functionResponse: { id, name, response: { output: result } } }));
    contents.push({ role: "user", parts: told });
    got = await ask();
  }
  const words = got.parts.filter((part) => part.text && !part.thought).map((part) => part.text);
  const calls = got.parts.flatMap((part) => (part.functionCall ? [[part.functionCall.name, part.functionCall.args ?? {}]] : []));
  return { words: words.join(""), calls, pieces: got.pieces };
}

const own = { anthropic: withAnthropic, google: withGoogle };

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let told;
  try {
    told = await (own[command.client] ?? withVercel)(command);
  } catch (error) {
    const status = error.status ?? error.statusCode;
    if (!status) console.error(error);
    told = { error: APICallError.isInstance(error) ? "APICallError" : error.constructor.name, status, message: error.message };
  }
  console.log(JSON.stringify(told));
}
