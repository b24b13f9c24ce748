// A web app as its authors would write it: the chat hooks with the options that they need here, and nothing else of what
// the reference page does for its users. What it shows is its state, as JSON; tests call it by `window.app`.
import { Suspense, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { approve } from "../../../docs/snippets/approve";
import { useThread as useOneAddress } from "../../../docs/snippets/one-address";
import { sessionToken } from "../../../docs/snippets/session";
import { useThread as useTwoAddresses } from "../../../docs/snippets/two-addresses";

const options = new URLSearchParams(location.hash.slice(1));
const thread = options.get("thread");

let given = options.get("token");
const token = async () => given ?? (await sessionToken(thread));

const stack = { http: options.get("http"), host: options.get("host"), basePath: options.get("path") };
const ttl = Number(options.get("ttl") ?? 300_000);
const useThread = options.has("edge")
  ? () => useOneAddress(options.get("edge"), thread, token)
  : () => useTwoAddresses(stack, thread, token, ttl);

function App() {
  const { agent, chat } = useThread();
  const [open, setOpen] = useState(false);
  useEffect(() => {
    const look = () => setOpen(agent.readyState === WebSocket.OPEN);
    look();
    for (const event of ["open", "close"]) agent.addEventListener(event, look);
    return () => {
      for (const event of ["open", "close"]) agent.removeEventListener(event, look);
    };
  }, [agent]);
  window.app = {
    send: (text, messageId) => void chat.sendMessage({ text, messageId }),
    stop: () => void chat.stop(),
    regenerate: () => void chat.regenerate(),
    clear: () => chat.clearHistory(),
    approve: (approved) => approve(agent, waiting.toolCallId, approved),
    signIn: (fresh) => {
      given = fresh;
    },
  };
  const parts = chat.messages.at(-1)?.parts ?? [];
  const waiting = parts.find((part) => part.state === "approval-requested");
  const text = (message) => message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
  const state = {
    status: chat.status,
    // The newer hooks know of answers that others have asked for, too.
    busy: chat.status === "submitted" || chat.status === "streaming" || chat.isStreaming === true,
    open,
    socket: agent._pk,
    ids: chat.messages.map((message) => message.id),
    waits: waiting !== undefined,
    tools: parts.filter((part) => part.type.startsWith("tool-")).map((part) => part.state),
    texts: chat.messages.map(text),
  };
  return <pre>{JSON.stringify(state)}</pre>;
}

createRoot(document.getElementById("root")).render(
  <Suspense fallback="opening">
    <App />
  </Suspense>,
);
