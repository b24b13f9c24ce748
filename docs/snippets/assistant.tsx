import { type AppendMessage, AssistantRuntimeProvider } from "@assistant-ui/react";
import { useAISDKRuntime } from "@assistant-ui/react-ai-sdk";
import type { ReactNode } from "react";
import { useThread } from "./one-address";
import { sessionToken } from "./session";

interface Output {
  toolCallId: string;
  output?: unknown;
}

/** A thread, for the components of assistant-ui in it. */
export function Assistant({ host, thread, children }: { host: string; thread: string; children: ReactNode }) {
  const { chat } = useThread(host, thread, () => sessionToken(thread));
  const setMessages: typeof chat.setMessages = (messages) =>
    // The older generation sends every list that it is given, and of a function none.
    chat.setMessages(typeof messages === "function" ? messages : () => messages);
  const addToolOutput = async ({ toolCallId, output }: Output) => chat.addToolOutput({ toolCallId, output });
  const runtime = useAISDKRuntime({ ...chat, setMessages, addToolOutput }, { toCreateMessage });
  return <AssistantRuntimeProvider runtime={runtime}>{children}</AssistantRuntimeProvider>;
}

/** What the user wrote. An edit keeps the message's id: by that the server knows where to cut. */
function toCreateMessage({ content, sourceId }: AppendMessage) {
  const parts = content.filter((part) => part.type === "text");
  // Any kind of message may be asked for, by its type; it is always this one.
  return { role: "user", parts, ...(sourceId !== null && { id: sourceId }) } as never;
}
