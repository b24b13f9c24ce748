// The npm client as other people use it: AgentClient of `agents`, in Node. Asks one message and prints every frame it
// gets as a line of JSON, until the answer has ended.
//
//   node client.mjs WS_URL THREAD TOKEN TEXT [CANCEL_AFTER]
//
// With CANCEL_AFTER the answer is stopped after that many frames of text.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The packages are the page's own, so that what is tested is what is shipped.
const require = createRequire(new URL("../../../webapp/package.json", import.meta.url));
const { AgentClient } = await import(pathToFileURL(require.resolve("agents/client")).href);
// Node 20 has no WebSocket of its own.
const WebSocket = require("ws");

const DEADLINE_MS = 60_000;

const [wsUrl, thread, token, text, cancelAfter] = process.argv.slice(2);
const { protocol, host, pathname } = new URL(wsUrl);
const request = { id: "node-request-1", type: "cf_agent_use_chat_request" };
const message = { id: "node-message-1", role: "user", parts: [{ type: "text", text }] };

const client = new AgentClient({
  agent: "chat",
  name: thread,
  protocol: protocol.replace(":", ""),
  host,
  basePath: pathname.slice(1),
  query: { thread, token },
  WebSocket,
});

const end = (code) => {
  client.close();
  process.exit(code);
};
setTimeout(() => end(1), DEADLINE_MS).unref();

let deltas = 0;
client.addEventListener("message", ({ data }) => {
  console.log(data);
  const frame = JSON.parse(data);
  if (frame.id !== request.id) return;
  if (frame.done) end(0);
  if (frame.body?.includes('"text-delta"') && ++deltas === Number(cancelAfter))
    client.send(JSON.stringify({ id: request.id, type: "cf_agent_chat_request_cancel" }));
});
client.addEventListener(
  "open",
  () => {
    client.send(JSON.stringify({ type: "cf_agent_stream_resume_request", probeId: "node-probe" }));
    const body = JSON.stringify({ messages: [message], trigger: "submit-message" });
    client.send(JSON.stringify({ ...request, init: { method: "POST", body } }));
  },
  { once: true },
);
