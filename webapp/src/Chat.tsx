import { useAgentChat } from "@cloudflare/ai-chat/react";
import { useAgent } from "agents/react";
import { useEffect, useRef, useState } from "react";
import type { Config } from "./config";
import type { Connection } from "./connection";
import { type Controls, useControls } from "./controls";
import { MessageList } from "./MessageList";
import type { ChatMessage } from "./messages";
import { Notices } from "./Notices";
import { isSandbox, type Sandbox, SandboxStatus } from "./SandboxStatus";
import type { Stalled } from "./watchdog";

interface ChatProps {
  config: Config;
  thread: string;
  token: string;
  history: ChatMessage[];
  connection: Connection;
  stalled: Stalled | null;
  /** Whether an answer is waited for. */
  waiting: boolean;
  onControls: (controls: Controls | null) => void;
  onFirstMessage: (text: string) => void;
  /** Why the thread could not be opened anew, if it could not. */
  problem: string | null;
  /** Begins anew with what the server holds. */
  onReopen: () => unknown;
}

/** The conversation of a thread, live. */
export function Chat(props: ChatProps) {
  const { config, thread, token, history, connection, stalled, waiting, problem } = props;
  const { onControls, onFirstMessage, onReopen } = props;
  const [sandbox, setSandbox] = useState<Sandbox | null>(null);

  const agent = useAgent({ agent: "chat", name: thread, ...config.socket, query: { thread, token } });
  const chat = useAgentChat<unknown, ChatMessage>({
    agent,
    messages: history,
    getInitialMessages: null,
    // The server keeps the conversation: it needs the last message only, and a frame has a limit of 32 KB.
    syncMessagesToServer: false,
    prepareSendMessagesRequest: ({ messages, ...rest }) => ({ body: { ...rest, messages: messages.slice(-1) } }),
    onData: (part) => {
      if (part.type === "data-sandbox" && isSandbox(part.data)) setSandbox(part.data);
    },
  });

  const busy = chat.status === "submitted" || chat.isStreaming;
  // The chat client ends an answer with an error when its connection ends. It is none yet: the server goes on.
  const { watch, mend, turn, brokenOff } = connection;
  const isBusy = useRef(busy);
  isBusy.current = busy;
  useEffect(() => watch(agent, () => isBusy.current), [agent, watch]);
  useEffect(() => {
    if (!brokenOff || turn !== "none") return;
    // It ended while the connection was away, and the server's copy is the whole one.
    mend();
    onReopen();
  }, [brokenOff, turn, mend, onReopen]);

  const send = async (text: string) => {
    if (history.length === 0) onFirstMessage(text);
    if (busy) await chat.stop();
    mend();
    chat.clearError();
    await chat.sendMessage({ text });
  };
  const stop = () => {
    mend();
    void chat.stop();
  };
  useControls({ busy, send: (text) => void send(text), stop }, onControls);
  const unanswered = turn === "none" && !busy && !brokenOff && chat.messages.at(-1)?.role === "user";

  return (
    <section className="chat" data-status={chat.status}>
      <MessageList messages={chat.messages} busy={waiting} />
      <div className="status">
        <Notices
          connection={connection}
          stalled={stalled}
          problem={problem}
          error={brokenOff ? null : (chat.error?.message ?? null)}
          unanswered={unanswered}
          onRetry={() => chat.regenerate()}
          onReopen={onReopen}
        />
        {sandbox !== null && <SandboxStatus sandbox={sandbox} />}
      </div>
    </section>
  );
}
