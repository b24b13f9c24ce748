import type { UIMessage } from "ai";

interface Asked {
  id: string;
  trigger: "submit-message" | "regenerate-message";
  messageId?: string | undefined;
  messages: UIMessage[];
}

/** Options of `useAgentChat`, for both generations. */
export const requests = {
  // The server keeps the conversation: it needs the last message only, and a frame has a limit of 32 KB.
  prepareSendMessagesRequest: ({ id, trigger, messageId, messages }: Asked) => ({
    body: { id, trigger, messageId, messages: messages.slice(-1) },
  }),
  // For the same reason no list of messages with each setMessages(). The older generation passes over this.
  syncMessagesToServer: false,
  // What the agent is answered goes into the turn that waits for it; no further one follows.
  autoContinueAfterToolResult: false,
};
