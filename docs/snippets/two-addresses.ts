import { useAgentChat } from "@cloudflare/ai-chat/react";
import { useAgent } from "agents/react";
import type { UIMessage } from "ai";
import { requests } from "./requests";

interface Addresses {
  /** The stack's output `HttpUrl`. */
  http: string;
  /** The host in its output `WebSocketUrl`. */
  host: string;
  /** What follows the host there, without the slash: `live`. */
  basePath: string;
}

/** The chat of a thread. Suspends until its history is there. */
export function useThread(at: Addresses, thread: string, token: () => Promise<string>, cacheTtl = 300_000) {
  const agent = useAgent({
    agent: "chat",
    name: thread,
    host: at.host,
    basePath: at.basePath,
    query: async () => ({ thread, token: await token() }),
    cacheTtl,
  });
  const chat = useAgentChat({ agent, getInitialMessages: () => history(at.http, thread, token), ...requests });
  return { agent, chat };
}

async function history(http: string, thread: string, token: () => Promise<string>): Promise<UIMessage[]> {
  try {
    const answer = await fetch(`${http}/agents/chat/${thread}/get-messages`, {
      headers: { authorization: `Bearer ${await token()}` },
    });
    return answer.ok ? await answer.json() : [];
  } catch {
    return []; // What is thrown here would take the page down.
  }
}
