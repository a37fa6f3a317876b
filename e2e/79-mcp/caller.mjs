// A client of the official TypeScript SDK. A task is a line of JSON on standard input, its answer one on standard output.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const sdk = (file) => import(pathToFileURL(join(process.env.E2E_NODE, "node_modules/@modelcontextprotocol/sdk/dist/esm", file)));
const { Client } = await sdk("client/index.js");
const { StreamableHTTPClientTransport } = await sdk("client/streamableHttp.js");
const { ToolListChangedNotificationSchema } = await sdk("types.js");

const open = {};

const tasks = {
  async connect({ client: name, base_url, key, session }) {
    const transport = new StreamableHTTPClientTransport(new URL(base_url), {
      requestInit: { headers: { Authorization: `Bearer ${key}` } },
      sessionId: session,
    });
    const client = new Client({ name: "e2e", version: "1" });
    const one = (open[name] = { client, transport, changes: 0 });
    client.setNotificationHandler(ToolListChangedNotificationSchema, () => void one.changes++);
    await client.connect(transport);
    return { session: transport.sessionId, version: transport.protocolVersion ?? null };
  },
  async tools({ client }) {
    const found = [];
    for (let cursor; ; ) {
      const page = await open[client].client.listTools({ cursor });
      found.push(...page.tools.map((tool) => tool.name));
      if (!(cursor = page.nextCursor)) return found;
    }
  },
  async call({ client, name, arguments: args = {} }) {
    const progress = [];
    const onprogress = ({ progress: done, total, message }) => progress.push([done, total, message]);
    const result = await open[client].client.callTool({ name, arguments: args }, undefined, { onprogress });
    return { text: result.content[0].text, failed: !!result.isError, progress };
  },
  async cancel({ client, name }) {
    const stop = new AbortController();
    setTimeout(() => stop.abort("no longer"), 500);
    await open[client].client.callTool({ name, arguments: {} }, undefined, { signal: stop.signal });
  },
  async changes({ client }) {
    return open[client].changes;
  },
  async terminate({ client }) {
    await open[client].transport.terminateSession();
    return null;
  },
  async close({ client }) {
    await open[client].client.close();
    return null;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line);
  let answer;
  try {
    answer = { ok: await tasks[task.do](task) };
  } catch (error) {
    answer = { error: error.code ?? String(error), message: String(error.message ?? error), data: error.data };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
process.exit(0);
