// Loaded before Portkey's gateway, which answers no stream with Node.js 20 without it: it writes to the headers of the
// provider's answer, and those of `fetch` are read-only there.
const { fetch: inner, Response: Native } = globalThis;

globalThis.fetch = async (...asked) => {
  const answer = await inner(...asked);
  return new Native(answer.body, answer);
};
