import { useAgentChat } from "@cloudflare/ai-chat/react";
import { useAgent } from "agents/react";
import { useEffect, useState } from "react";
import { Composer } from "./Composer";
import type { Config } from "./config";
import { useConnection } from "./connection";
import { MessageList } from "./MessageList";
import type { ChatMessage } from "./messages";
import { Notices } from "./Notices";
import { isSandbox, type Sandbox, SandboxStatus } from "./SandboxStatus";
import { useWatchdog } from "./watchdog";

interface ChatProps {
  config: Config;
  thread: string;
  token: string;
  history: ChatMessage[];
  draft: string;
  onDraft: (text: string) => void;
  onFirstMessage: (text: string) => void;
  /** Why the thread could not be opened anew, if it could not. */
  problem: string | null;
  /** Told of every lost connection, and whether it had been open or was refused. */
  onClose: (wasOpen: boolean) => void;
  /** Begins anew with what the server holds. */
  onReopen: () => unknown;
}

/** The conversation of a thread, live. */
export function Chat(props: ChatProps) {
  const { config, thread, token, history, draft, onDraft, onFirstMessage, problem, onClose, onReopen } = props;
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

  // The chat client ends an answer with an error when its connection ends. It is none yet: the server goes on.
  const busy = chat.status === "submitted" || chat.isStreaming;
  const [brokenOff, setBrokenOff] = useState(false);
  const connection = useConnection(agent, (wasOpen) => {
    if (busy) setBrokenOff(true);
    onClose(wasOpen);
  });
  const { turn } = connection;
  useEffect(() => {
    if (!brokenOff) return;
    if (turn === "running") setBrokenOff(false);
    // It ended while the connection was away, and the server's copy is the whole one.
    if (turn === "none") onReopen();
  }, [brokenOff, turn, onReopen]);

  const stalled = useWatchdog(busy || brokenOff, connection);
  const waiting = (busy || brokenOff) && stalled === null;

  const send = async (text: string) => {
    if (history.length === 0) onFirstMessage(text);
    if (busy) await chat.stop();
    setBrokenOff(false);
    chat.clearError();
    await chat.sendMessage({ text });
  };
  const unanswered = turn === "none" && !busy && !brokenOff && chat.messages.at(-1)?.role === "user";

  return (
    <section className="chat" data-status={chat.status}>
      <MessageList messages={chat.messages} busy={waiting} />
      <footer>
        <Notices
          lostAt={connection.lostAt}
          stalled={stalled}
          problem={problem}
          error={brokenOff ? null : (chat.error?.message ?? null)}
          unanswered={unanswered}
          onRetry={() => chat.regenerate()}
          onReopen={onReopen}
        />
        {sandbox !== null && <SandboxStatus sandbox={sandbox} />}
        <Composer
          draft={draft}
          onDraft={onDraft}
          ready={connection.lostAt === null}
          onSend={(text) => void send(text)}
          onStop={waiting ? () => void chat.stop() : null}
        />
      </footer>
    </section>
  );
}
