// Files with the official `@google/genai` package: one JSON command a line in, one JSON answer a line out.

import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(path.join(process.env.E2E_NODE, "package.json"));
const { GoogleGenAI } = await import(pathToFileURL(require.resolve("@google/genai")).href);

async function run({ do: what, base_url, key, body }) {
  const sdk = new GoogleGenAI({ apiKey: key, vertexai: false, httpOptions: { baseUrl: base_url } });
  switch (what) {
    case "upload":
      return sdk.files.upload({ file: body.path, config: { mimeType: "text/plain", displayName: body.display_name } });
    case "file":
      return sdk.files.get({ name: body.name });
    case "files": {
      const names = [];
      for await (const file of await sdk.files.list({ config: { pageSize: 2 } })) names.push(file.name);
      return names;
    }
    case "delete":
      await sdk.files.delete({ name: body.name });
      return null;
    case "ask": {
      const file = await sdk.files.get({ name: body.names[0] });
      const parts = [{ fileData: { fileUri: file.uri, mimeType: file.mimeType } }, { text: "What does it say?" }];
      return (await sdk.models.generateContent({ model: body.to, contents: [{ role: "user", parts }] })).text;
    }
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  let result;
  try {
    result = { answer: (await run(JSON.parse(line))) ?? null };
  } catch (error) {
    result = { error: error.name, status: error.status, message: error.message };
  }
  console.log(JSON.stringify(result));
}
