import { useAgentChat } from "@cloudflare/ai-chat/react";
import { useAgent } from "agents/react";
import { useContext, useEffect, useMemo, useRef } from "react";
import type { Config } from "../config";
import { type Answering, AnsweringContext } from "../parts/answering";
import type { Connection } from "./connection";
import { type Controls, useControls } from "./controls";
import { MessageList } from "./MessageList";
import type { ChatMessage } from "./messages";
import { Notices } from "./Notices";
import { useRefresh } from "./refresh";
import type { FindRemedy } from "./remedies";
import { type Revising, RevisingContext } from "./revising";
import { SignalsContext } from "./signals";
import type { Stalled } from "./watchdog";

interface ChatProps {
  config: Config;
  thread: string;
  token: string;
  history: ChatMessage[];
  /** The model to ask, `provider/id`; empty for the backend's choice. */
  model: string;
  connection: Connection;
  stalled: Stalled | null;
  /** Whether an answer is waited for. */
  waiting: boolean;
  onControls: (controls: Controls | null) => void;
  findRemedy: FindRemedy;
  onFirstMessage: (text: string) => void;
  onSuggestion: (text: string) => void;
  /** Why the thread could not be opened anew, if it could not. */
  problem: string | null;
  /** Begins anew with what the server holds. */
  onReopen: () => unknown;
}

/** The conversation of a thread, live. */
export function Chat(props: ChatProps) {
  const { config, thread, token, history, model, connection, stalled, waiting, problem } = props;
  const { onControls, findRemedy, onFirstMessage, onSuggestion, onReopen } = props;
  const signals = useContext(SignalsContext);

  const agent = useAgent({ agent: "chat", name: thread, ...config.socket, query: { thread, token } });
  const chat = useAgentChat<unknown, ChatMessage>({
    agent,
    messages: history,
    getInitialMessages: null,
    // The server keeps the conversation: it needs the last message only, and a frame has a limit of 32 KB.
    syncMessagesToServer: false,
    prepareSendMessagesRequest: ({ messages, ...rest }) => ({
      body: { ...rest, messages: messages.slice(-1), ...(model === "" ? {} : { model }) },
    }),
    // An approval or an answer goes into the turn that waits for it; no further one follows.
    autoContinueAfterToolResult: false,
    onData: (part) => signals.emit(part.type, part.data),
  });

  const refresh = useRefresh(config, thread, chat.setMessages);

  const { watch, ask, settle, turn, brokenOff } = connection;
  // The chat client takes a message for answered when it hears that nothing was under way before it (ai 7.0.173).
  const busy = chat.status === "submitted" || chat.isStreaming || turn === "asked" || turn === "running";
  // The chat client ends an answer with an error when its connection ends. It is none yet: the server goes on.
  const isBusy = useRef(busy);
  isBusy.current = busy;
  useEffect(() => watch(agent, () => isBusy.current), [agent, watch]);
  useEffect(() => {
    if (!brokenOff || turn !== "none") return;
    // It ended while the connection was away, and the server's copy is the whole one.
    settle();
    onReopen();
  }, [brokenOff, turn, settle, onReopen]);

  const send = async (text: string) => {
    if (history.length === 0 && chat.messages.length === 0) onFirstMessage(text);
    if (busy) await chat.stop();
    settle();
    chat.clearError();
    ask();
    await chat.sendMessage({ text });
  };
  const stop = () => {
    settle();
    void chat.stop();
  };
  const retry = () => {
    settle();
    ask();
    void chat.regenerate();
  };
  const clear = async () => {
    // Stopped first: what still comes of an answer would be shown in the empty conversation.
    if (busy) await chat.stop();
    settle();
    chat.clearError();
    chat.clearHistory();
  };
  useControls({ busy, send: (text) => void send(text), stop, clear }, onControls);

  const latest = useRef({ again: (_: string) => {}, edit: (_id: string, _text: string) => {} });
  latest.current = {
    again: (messageId) => {
      settle();
      chat.clearError();
      void chat.regenerate({ messageId });
    },
    edit: (messageId, text) => {
      settle();
      chat.clearError();
      void chat.sendMessage({ text, messageId });
    },
  };
  // The same one for as long as nothing changes that a message shows of it.
  const open = !busy && connection.lostAt === null;
  const revising: Revising = useMemo(
    () => ({
      open,
      again: (answerId) => latest.current.again(answerId),
      edit: (messageId, text) => latest.current.edit(messageId, text),
    }),
    [open],
  );

  const answering: Answering = {
    open: busy,
    approve: (id, approved) => void chat.addToolApprovalResponse({ id, approved }),
    answer: (toolCallId, toolName, answers) => chat.addToolOutput({ toolCallId, toolName, output: { answers } }),
  };
  const failure = connection.failure ?? (chat.error ? { sentence: chat.error.message, code: null } : null);
  const unanswered = turn === "none" && !busy && !brokenOff && chat.messages.at(-1)?.role === "user";
  useEffect(() => {
    // An answer that ended after the conversation was read, and before the connection was there, came with neither.
    if (unanswered) void refresh();
  }, [unanswered, refresh]);

  return (
    <section className="chat" data-status={chat.status}>
      <AnsweringContext value={answering}>
        <RevisingContext value={revising}>
          <MessageList messages={chat.messages} busy={waiting} demo={config.demoModel} onSuggestion={onSuggestion} />
        </RevisingContext>
      </AnsweringContext>
      <div className="status">
        <Notices
          connection={connection}
          stalled={stalled}
          problem={problem}
          failure={brokenOff || stalled !== null ? null : failure}
          unanswered={unanswered}
          findRemedy={findRemedy}
          onRetry={retry}
          onReopen={onReopen}
        />
      </div>
    </section>
  );
}
