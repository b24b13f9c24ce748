import { useLayoutEffect, useRef } from "react";
import { type ChatMessage, textOf } from "./messages";

interface MessageListProps {
  messages: ChatMessage[];
  /** Whether an answer is under way. */
  busy: boolean;
}

/** Closer to the end than this, the list follows what comes in. */
const FOLLOW_PX = 80;

/** The conversation; it scrolls along unless the reader has scrolled away. */
export function MessageList({ messages, busy }: MessageListProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const count = useRef(0);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const sent = messages.length > count.current && messages.at(-1)?.role === "user";
    count.current = messages.length;
    if (sent || following.current) element.scrollTop = element.scrollHeight;
  });

  const onScroll = () => {
    const element = scroller.current;
    if (element === null) return;
    following.current = element.scrollHeight - element.scrollTop - element.clientHeight < FOLLOW_PX;
  };

  const last = messages.at(-1);
  const thinking = busy && (last?.role !== "assistant" || textOf(last) === "");
  return (
    <div className="scroller" ref={scroller} onScroll={onScroll}>
      <div className="messages" role="log" aria-label="Conversation" aria-busy={busy}>
        {messages.length === 0 && <Welcome />}
        {messages.map((message) => (
          <Message key={message.id} message={message} />
        ))}
        {thinking && (
          <p className="thinking">
            <span className="visually-hidden">The answer is on its way</span>
            <i />
            <i />
            <i />
          </p>
        )}
      </div>
    </div>
  );
}

function Message({ message }: { message: ChatMessage }) {
  const text = textOf(message);
  if (text === "") return null;
  return (
    <article className={`message ${message.role}`} aria-label={message.role === "user" ? "You" : "Answer"}>
      {text}
    </article>
  );
}

function Welcome() {
  return (
    <div className="welcome">
      <h2>A new thread</h2>
      <p>It gets a sandbox of its own, with a coding agent in it, as soon as you send the first message.</p>
    </div>
  );
}
