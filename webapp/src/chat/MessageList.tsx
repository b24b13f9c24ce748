import { useCallback, useContext, useLayoutEffect, useRef, useState } from "react";
import { AnsweringContext } from "../parts/answering";
import { Icon } from "../ui/Icon";
import { Message } from "./Message";
import { type ChatMessage, isVisible, progressOf } from "./messages";
import { Retrying } from "./Retrying";
import { Welcome } from "./Welcome";

interface MessageListProps {
  messages: ChatMessage[];
  /** Whether an answer is under way. */
  busy: boolean;
  demo: boolean;
  onSuggestion: (text: string) => void;
}

/** Closer to the end than this, the list follows what comes in. */
const FOLLOW_PX = 80;

/** The conversation; while an answer comes it scrolls along, unless the reader has scrolled away. */
export function MessageList({ messages, busy, demo, onSuggestion }: MessageListProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const [away, setAway] = useState(false);
  const last = messages.at(-1);

  const toEnd = useCallback(() => {
    const element = scroller.current;
    if (element !== null) element.scrollTop = element.scrollHeight;
  }, []);
  const sent = last?.role === "user" ? last.id : null;
  // biome-ignore lint/correctness/useExhaustiveDependencies: whoever has sent something wants to see what comes of it
  useLayoutEffect(() => {
    following.current = true;
    toEnd();
  }, [sent]);
  useLayoutEffect(() => {
    const element = content.current;
    if (element === null || !busy) return;
    const observer = new ResizeObserver(() => {
      if (following.current) toEnd();
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [busy, toEnd]);

  const onScroll = () => {
    const element = scroller.current;
    if (element === null) return;
    following.current = element.scrollHeight - element.scrollTop - element.clientHeight < FOLLOW_PX;
    setAway(!following.current);
  };

  const { open } = useContext(AnsweringContext);
  const asks = open && last?.role === "assistant" && last.parts.some(isAsk);
  const begun = last?.role === "assistant" && isVisible(last);
  return (
    <div className="scroller" ref={scroller} onScroll={onScroll}>
      <div className="messages" ref={content} role="log" aria-label="Conversation" aria-busy={busy}>
        {messages.length === 0 && <Welcome demo={demo} onSuggestion={onSuggestion} />}
        {messages.map((message) => (
          <Message key={message.id} message={message} live={busy && message === last} />
        ))}
        <Retrying busy={busy} progress={progressOf(last)} />
        {busy && asks && <p className="waits">Waiting for you.</p>}
        {busy && !asks && <Thinking quiet={begun} />}
      </div>
      {away && (
        <button type="button" className="to-end" aria-label="To the end" onClick={toEnd}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

/** Whether the agent waits for its user with this part. */
function isAsk(part: ChatMessage["parts"][number]): boolean {
  if (!("toolCallId" in part)) return false;
  return part.state === "approval-requested" || (part.type === "tool-question" && part.state === "input-available");
}

function Thinking({ quiet }: { quiet: boolean }) {
  return (
    <p className="thinking" data-quiet={quiet}>
      <span className="visually-hidden">The answer is on its way</span>
      <i />
      <i />
      <i />
    </p>
  );
}
