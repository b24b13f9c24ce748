import { type FormEvent, type KeyboardEvent, type ReactNode, type RefObject, useEffect, useState } from "react";
import { Icon } from "../ui/Icon";
import { excessOf } from "./size";

interface ComposerProps {
  field: RefObject<HTMLTextAreaElement | null>;
  draft: string;
  onDraft: (text: string) => void;
  /** Whether a message can be sent now. */
  ready: boolean;
  onSend: (text: string) => void;
  /** Given while an answer can be stopped. */
  onStop: (() => void) | null;
  /** What is chosen along with a message. */
  children: ReactNode;
}

/** Where a message is written. Enter sends, Shift+Enter breaks the line, Escape stops an answer. */
export function Composer({ field, draft, onDraft, ready, onSend, onStop, children }: ComposerProps) {
  const excess = excessOf(draft);
  const complete = onStop === null && draft.trim() !== "" && excess <= 0;
  // What is sent before there is a connection goes out as soon as there is one.
  const [held, setHeld] = useState(false);

  useEffect(() => {
    // On a phone the keyboard would cover the conversation before anybody has read it.
    if (window.matchMedia("(pointer: fine)").matches) field.current?.focus();
  }, [field]);

  const send = () => {
    if (!complete) return;
    setHeld(!ready);
    if (!ready) return;
    onSend(draft.trim());
    onDraft("");
  };
  useEffect(() => {
    if (held && ready) send();
  });
  const stop = () => {
    onStop?.();
    field.current?.focus();
  };
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    send();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape" && onStop !== null) return stop();
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };

  return (
    <form className="composer" onSubmit={onSubmit}>
      {excess > 0 && (
        <p className="hint">
          This message is {excess.toLocaleString("en")} bytes too long: 24 KB is the most. Please send it in parts.
        </p>
      )}
      <div className="field">
        <textarea
          ref={field}
          rows={1}
          value={draft}
          placeholder="Ask for something…"
          aria-label="Message"
          onChange={(event) => {
            setHeld(false);
            onDraft(event.target.value);
          }}
          onKeyDown={onKeyDown}
        />
        <div className="tools">
          {children}
          {onStop === null ? (
            <button type="submit" className="primary" disabled={!complete || held}>
              <Icon name="up" />
              {held ? "Sending…" : "Send"}
            </button>
          ) : (
            <button type="button" className="stop" onClick={stop}>
              <Icon name="stop" />
              Stop
            </button>
          )}
        </div>
      </div>
    </form>
  );
}
