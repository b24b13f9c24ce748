import { useAgentChat } from "@cloudflare/ai-chat/react";
import { useAgent } from "agents/react";
import { requests } from "./requests";

/** The chat of a thread; `host` is that of the stack's output `OneAddressUrl`. Suspends until it is open. */
export function useThread(host: string, thread: string, token: () => Promise<string>) {
  const agent = useAgent({
    agent: "chat",
    name: thread,
    host,
    query: async () => ({ token: await token() }),
  });
  const chat = useAgentChat({ agent, ...requests });
  return { agent, chat };
}
