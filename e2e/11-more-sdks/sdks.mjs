// Does what it is told with the official packages for Node.js: one JSON command a line in, one JSON answer a line out.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.E2E_NODE}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

const { default: OpenAI } = await load("openai");
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
  const tokens = ({ inputTokens, outputTokens }) => (inputTokens === undefined ? null : [inputTokens, outputTokens]);
  if (!stream) {
    const got = await generateText(call);
    return { words: got.text, calls: calls(got.toolCalls), stop: got.finishReason, tokens: tokens(got.usage), pieces: 1 };
  }
  let failed;
  const got = streamText({ ...call, onError: ({ error }) => void (failed = error) });
  let [pieces, inputs] = [0, 0];
  for await (const part of got.fullStream) {
    pieces += part.type === "text-delta";
    inputs += part.type === "tool-input-delta";
  }
  if (failed) throw failed;
  const [stop, used] = [await got.finishReason, tokens(await got.usage)];
  const argument_pieces = client === "ai-google" ? null : inputs;
  return { words: await got.text, calls: calls(await got.toolCalls), stop, tokens: used, pieces, argument_pieces };
}

const openai = ({ base_url, key }) =>
  new OpenAI({ baseURL: `${base_url}/v1`, apiKey: key, maxRetries: 0, timeout: 30_000 });

async function withChat({ base_url, key, model, stream, system, text, image, tools, result }) {
  const sdk = openai({ base_url, key });
  const picture = { type: "image_url", image_url: { url: `data:image/png;base64,${image}` } };
  const messages = [{ role: "system", content: system }, { role: "user", content: [{ type: "text", text }, picture] }];
  const functions = tools.map(({ name, description, schema }) => ({
    type: "function",
    function: { name, description, parameters: schema },
  }));
  const ask = async () => {
    const body = { model, messages, tools: functions, max_tokens: 64 };
    if (!stream) return { answer: await sdk.chat.completions.create(body), pieces: 1 };
    const events = sdk.chat.completions.stream({ ...body, stream_options: { include_usage: true } });
    let [pieces, inputs] = [0, 0];
    for await (const { choices } of events) {
      for (const { delta } of choices) {
        pieces += Boolean(delta.content);
        inputs += (delta.tool_calls ?? []).filter((call) => call.function?.arguments).length;
      }
    }
    return { answer: await events.finalChatCompletion(), pieces, argument_pieces: inputs };
  };
  let got = await ask();
  if (result !== undefined) {
    const { content, tool_calls } = got.answer.choices[0].message;
    const called = tool_calls.map(({ id, type, function: { name, arguments: input } }) => ({ id, type, function: { name, arguments: input } }));
    messages.push({ role: "assistant", content, tool_calls: called });
    messages.push(...called.map(({ id }) => ({ role: "tool", tool_call_id: id, content: result })));
    got = await ask();
  }
  const [{ message, finish_reason: stop }] = got.answer.choices;
  const calls = (message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments || "{}")]);
  const used = got.answer.usage;
  return { ...got, answer: undefined, words: message.content ?? "", calls, stop, tokens: used ? [used.prompt_tokens, used.completion_tokens] : null };
}

async function withResponses({ base_url, key, model, stream, system, text, image, tools, result }) {
  const sdk = openai({ base_url, key });
  const picture = { type: "input_image", image_url: `data:image/png;base64,${image}`, detail: "auto" };
  const input = [{ role: "user", content: [{ type: "input_text", text }, picture] }];
  const functions = tools.map(({ name, description, schema }) => ({ type: "function", name, description, parameters: schema, strict: false }));
  const ask = async () => {
    const body = { model, instructions: system, input, tools: functions, store: false };
    if (!stream) return { answer: await sdk.responses.create(body), pieces: 1 };
    const events = sdk.responses.stream(body);
    let [pieces, inputs] = [0, 0];
    for await (const { type } of events) {
      pieces += type === "response.output_text.delta";
      inputs += type === "response.function_call_arguments.delta";
    }
    return { answer: await events.finalResponse(), pieces, argument_pieces: inputs };
  };
  const called = ({ answer }) => answer.output.filter((item) => item.type === "function_call");
  let got = await ask();
  if (result !== undefined) {
    const made = called(got);
    input.push(...made.map(({ type, call_id, name, arguments: told }) => ({ type, call_id, name, arguments: told })));
    input.push(...made.map(({ call_id }) => ({ type: "function_call_output", call_id, output: result })));
    got = await ask();
  }
  const calls = called(got).map((item) => [item.name, JSON.parse(item.arguments || "{}")]);
  const parts = got.answer.output.flatMap((item) => (item.type === "message" ? item.content : []));
  const words = parts.map((part) => part.text ?? "").join("");
  const used = got.answer.usage;
  return { ...got, answer: undefined, words, calls, stop: got.answer.status, tokens: used ? [used.input_tokens, used.output_tokens] : null };
}

async function withAnthropic({ base_url, key, model, stream, system, text, image, tools, result }) {
  const sdk = new Anthropic({ baseURL: base_url, apiKey: key, authToken: null, maxRetries: 0, timeout: 30_000 });
  const source = { type: "base64", media_type: "image/png", data: image };
  const messages = [{ role: "user", content: [{ type: "text", text }, { type: "image", source }] }];
  const input = tools.map(({ name, description, schema }) => ({ name, description, input_schema: schema }));
  const ask = async () => {
    const body = { model, max_tokens: 64, system, messages, tools: input };
    if (!stream) return { message: await sdk.messages.create(body), pieces: 1 };
    let [pieces, inputs] = [0, 0];
    const events = sdk.messages.stream(body).on("text", () => void pieces++);
    events.on("inputJson", (piece) => void (inputs += Boolean(piece)));
    return { message: await events.finalMessage(), pieces, argument_pieces: inputs };
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
  const { stop_reason: stop, usage } = got.message;
  const read = usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
  return { ...got, message: undefined, words: words.join(""), calls, stop, tokens: [read, usage.output_tokens] };
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
    const stop = answers.map((answer) => answer.candidates?.[0]?.finishReason).findLast(Boolean);
    const usage = answers.map((answer) => answer.usageMetadata).findLast(Boolean);
    return { parts, stop, usage };
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
  const { stop, usage } = got;
  const tokens = usage && [
    (usage.promptTokenCount ?? 0) + (usage.toolUsePromptTokenCount ?? 0),
    (usage.candidatesTokenCount ?? 0) + (usage.thoughtsTokenCount ?? 0),
  ];
  return { words: words.join(""), calls, stop, tokens: tokens ?? null, pieces: words.length, argument_pieces: null };
}

const own = { chat: withChat, responses: withResponses, anthropic: withAnthropic, google: withGoogle };

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
