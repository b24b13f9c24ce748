import { isToolUIPart } from "ai";
import { memo, useContext } from "react";
import { Markdown } from "../parts/Markdown";
import { Reasoning } from "../parts/Reasoning";
import { ToolCall } from "../parts/ToolCall";
import { CopyButton } from "../ui/CopyButton";
import { Icon } from "../ui/Icon";
import { Facts } from "./Facts";
import { type ChatMessage, isVisible, textOf } from "./messages";
import { RevisingContext } from "./revising";
import { UserMessage } from "./UserMessage";

interface MessageProps {
  message: ChatMessage;
  /** Whether more of it is to come. */
  live: boolean;
}

/** One message: what the user said, or an answer with all its parts. */
export const Message = memo(function Message({ message, live }: MessageProps) {
  if (!isVisible(message)) return null;
  if (message.role === "user") return <UserMessage message={message} />;
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
          <Again answerId={message.id} />
          <Facts metadata={message.metadata} />
        </footer>
      )}
    </div>
  );
});

function Again({ answerId }: { answerId: string }) {
  const { open, again } = useContext(RevisingContext);
  if (!open) return null;
  return (
    <button type="button" className="icon" aria-label="Regenerate" title="Regenerate" onClick={() => again(answerId)}>
      <Icon name="again" />
    </button>
  );
}

function Part({ part, live }: { part: ChatMessage["parts"][number]; live: boolean }) {
  if (part.type === "text") return <Markdown text={part.text} />;
  if (part.type === "reasoning") return <Reasoning text={part.text} live={live && part.state === "streaming"} />;
  if (isToolUIPart(part)) return <ToolCall part={part} live={live} />;
  return null;
}
