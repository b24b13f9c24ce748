// What the newest npm client does to a history: the AI SDK's Chat over the Agents SDK's transport, in Node. Prints the
// client's list of messages after each step as a line of JSON, {step, status, messages: [[id, role, text]]}.
//
//   node history.mjs WS_URL THREAD TOKEN
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The packages are the page's own, so that what is tested is what is shipped.
const require = createRequire(new URL("../../../webapp/package.json", import.meta.url));
const load = async (name) => import(pathToFileURL(require.resolve(name)).href);
const { AgentClient } = await load("agents/client");
const { WebSocketChatTransport } = await load("agents/chat/react");
const { Chat } = await load("@ai-sdk/react");
// Node 20 has no WebSocket of its own.
const WebSocket = require("ws");

const DEADLINE_MS = 100_000;
setTimeout(() => process.exit(1), DEADLINE_MS).unref();

const [wsUrl, thread, token] = process.argv.slice(2);
const { protocol, host, pathname } = new URL(wsUrl);
const agent = new AgentClient({
  agent: "chat",
  name: thread,
  protocol: protocol.replace(":", ""),
  host,
  basePath: pathname.slice(1),
  query: { thread, token },
  WebSocket,
});
await new Promise((open) => agent.addEventListener("open", open, { once: true }));

const transport = new WebSocketChatTransport({
  agent,
  activeRequestIds: new Set(),
  // As the hook does with the page's prepareSendMessagesRequest.
  prepareBody: async ({ messages }) => ({ messages: messages.slice(-1) }),
});
const chat = new Chat({ id: thread, transport, onError: (error) => console.error(error) });
const text = (message) => message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
const tell = (step) => {
  const messages = chat.messages.map((message) => [message.id, message.role, text(message)]);
  console.log(JSON.stringify({ step, status: chat.status, messages }));
};

await chat.sendMessage({ text: "say one" });
await chat.sendMessage({ text: "how many messages?" });
tell("asked");

await chat.regenerate();
tell("regenerated");

const [, , second] = chat.messages;
await chat.sendMessage({ text: "what did I say first?", messageId: second.id });
tell("edited");

const [, first] = chat.messages;
await chat.regenerate({ messageId: first.id });
tell("regenerated first");

// As the hook's clearHistory.
chat.messages = [];
agent.send(JSON.stringify({ type: "cf_agent_chat_clear" }));
await chat.sendMessage({ text: "how many messages?" });
tell("cleared");

agent.close();
process.exit(0);
