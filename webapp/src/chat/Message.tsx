import { isToolUIPart } from "ai";
import { memo } from "react";
import { Markdown } from "../parts/Markdown";
import { Reasoning } from "../parts/Reasoning";
import { ToolCall } from "../parts/ToolCall";
import { CopyButton } from "../ui/CopyButton";
import { Facts } from "./Facts";
import { type ChatMessage, isVisible, textOf } from "./messages";

interface MessageProps {
  message: ChatMessage;
  /** Whether more of it is to come. */
  live: boolean;
}

/** One message: what the user said, or an answer with all its parts. */
export const Message = memo(function Message({ message, live }: MessageProps) {
  if (!isVisible(message)) return null;
  if (message.role === "user")
    return (
      <article className="message user" aria-label="You">
        {textOf(message)}
      </article>
    );
  const text = textOf(message).trim();
  return (
    <div className="message assistant">
      <article aria-label="Answer">
        {message.parts.map((part, place) => (
          // Parts are only ever added at the end, so the place is the part's name.
          // biome-ignore lint/suspicious/noArrayIndexKey: see above
          <Part key={place} part={part} live={live} />
        ))}
      </article>
      {!live && (
        <footer>
          {text !== "" && <CopyButton text={text} label="Copy text" />}
          <Facts metadata={message.metadata} />
        </footer>
      )}
    </div>
  );
});

function Part({ part, live }: { part: ChatMessage["parts"][number]; live: boolean }) {
  if (part.type === "text") return <Markdown text={part.text} />;
  if (part.type === "reasoning") return <Reasoning text={part.text} live={live && part.state === "streaming"} />;
  if (isToolUIPart(part)) return <ToolCall part={part} live={live} />;
  return null;
}
