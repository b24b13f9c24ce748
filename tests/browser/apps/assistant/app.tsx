// A web app as its authors would write it with assistant-ui: its own look, on the thread that the page's address names.
import {
  ActionBarPrimitive,
  ComposerPrimitive,
  MessagePrimitive,
  ThreadPrimitive,
  type ToolCallMessagePartProps,
  useMessage,
} from "@assistant-ui/react";
import { Suspense } from "react";
import { createRoot } from "react-dom/client";
import { Assistant } from "../../../../docs/snippets/assistant";

const options = new URLSearchParams(location.hash.slice(1));

const parts = {
  Text: ({ text }: { text: string }) => <span className="text">{text}</span>,
  Reasoning: ({ text }: { text: string }) => <i className="reasoning">{text}</i>,
  tools: {
    Fallback: ({ toolName, args, result }: ToolCallMessagePartProps) => (
      <code className="tool">{JSON.stringify([toolName, args, result])}</code>
    ),
  },
};

function Message() {
  const { id, role } = useMessage();
  return (
    <MessagePrimitive.Root className="message" data-role={role} id={id}>
      <MessagePrimitive.Parts components={parts} />
      {role === "user" ? (
        <ActionBarPrimitive.Edit>Edit</ActionBarPrimitive.Edit>
      ) : (
        <ActionBarPrimitive.Reload>Again</ActionBarPrimitive.Reload>
      )}
    </MessagePrimitive.Root>
  );
}

function EditComposer() {
  return (
    <ComposerPrimitive.Root>
      <ComposerPrimitive.Input aria-label="New text" />
      <ComposerPrimitive.Send>Change</ComposerPrimitive.Send>
    </ComposerPrimitive.Root>
  );
}

createRoot(document.getElementById("root") as HTMLElement).render(
  <Suspense fallback="opening">
    <Assistant host={options.get("host") ?? ""} thread={options.get("thread") ?? ""}>
      <ThreadPrimitive.Root>
        <ThreadPrimitive.Viewport>
          <ThreadPrimitive.Messages components={{ Message, EditComposer }} />
        </ThreadPrimitive.Viewport>
        <ComposerPrimitive.Root>
          <ComposerPrimitive.Input aria-label="Message" />
          <ThreadPrimitive.If running={false}>
            <ComposerPrimitive.Send>Send</ComposerPrimitive.Send>
          </ThreadPrimitive.If>
          <ThreadPrimitive.If running>
            <ComposerPrimitive.Cancel>Stop</ComposerPrimitive.Cancel>
          </ThreadPrimitive.If>
        </ComposerPrimitive.Root>
      </ThreadPrimitive.Root>
    </Assistant>
  </Suspense>,
);
