import type { UIMessage } from "ai";
import type { Config } from "./config";
import { fetchJson } from "./http";
import type { Sandbox } from "./SandboxStatus";
import type { Session } from "./session";

/** A message of a conversation, with the kinds of data the backend sends along. */
export type ChatMessage = UIMessage<unknown, { sandbox: Sandbox }>;

/** The conversation so far, oldest message first. */
export async function loadHistory(config: Config, thread: string, session: Session): Promise<ChatMessage[]> {
  const url = `${config.httpUrl}/agents/chat/${thread}/get-messages`;
  return (await fetchJson(url, { headers: { Authorization: `Bearer ${session.token}` } })) as ChatMessage[];
}

/** What a person reads in a message. */
export function textOf(message: ChatMessage): string {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}
