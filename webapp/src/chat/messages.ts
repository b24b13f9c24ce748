import type { UIMessage } from "ai";
import { callApi } from "../api";
import type { Config } from "../config";

/** What is known of an answer when it has ended. */
export interface Metadata {
  finishReason?: string;
  usage?: { inputTokens?: number; outputTokens?: number; reasoningTokens?: number; totalTokens?: number };
  model?: string;
}

/** A message of a conversation. The data the backend sends along is transient and part of none. */
export type ChatMessage = UIMessage<Metadata>;

/** The conversation so far, oldest message first. */
export async function loadHistory(config: Config, thread: string): Promise<ChatMessage[]> {
  return (await callApi(config, thread, `/agents/chat/${thread}/get-messages`)) as ChatMessage[];
}

/** What a person reads in a message. */
export function textOf(message: ChatMessage): string {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("\n\n");
}

/** Whether there is anything to see of a message. */
export function isVisible(message: ChatMessage): boolean {
  return message.parts.some((part) => part.type !== "step-start" && ("text" in part ? part.text !== "" : true));
}

/** How much there is of an answer: a number that grows with it. */
export function progressOf(message: ChatMessage | undefined): number {
  if (message?.role !== "assistant") return 0;
  const sizes = message.parts.map((part) => (part.type === "step-start" ? 0 : "text" in part ? part.text.length : 1));
  return sizes.reduce((sum, size) => sum + size, 0);
}
