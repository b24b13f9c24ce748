import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";

interface ComposerProps {
  /** Whether a message can be sent now. */
  ready: boolean;
  onSend: (text: string) => void;
  /** Given while an answer can be stopped. */
  onStop: (() => void) | null;
}

/** The backend takes messages up to 24 KB; the frame around the text needs a little of it. */
const MAX_BYTES = 23_000;

/** Where a message is written. Enter sends, Shift+Enter breaks the line. */
export function Composer({ ready, onSend, onStop }: ComposerProps) {
  const [draft, setDraft] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  const excess = new TextEncoder().encode(draft).length - MAX_BYTES;
  const complete = onStop === null && draft.trim() !== "" && excess <= 0;
  // What is sent before there is a connection goes out as soon as there is one.
  const [held, setHeld] = useState(false);

  useEffect(() => {
    // On a phone the keyboard would cover the conversation before anybody has read it.
    if (window.matchMedia("(pointer: fine)").matches) field.current?.focus();
  }, []);

  const send = () => {
    if (!complete) return;
    setHeld(!ready);
    if (!ready) return;
    onSend(draft.trim());
    setDraft("");
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
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };

  return (
    <form className="composer" onSubmit={onSubmit}>
      {excess > 0 && <p className="hint">This message is {excess.toLocaleString("en")} bytes too long.</p>}
      <div className="field">
        <textarea
          ref={field}
          rows={1}
          value={draft}
          placeholder="Ask for something…"
          aria-label="Message"
          onChange={(event) => {
            setHeld(false);
            setDraft(event.target.value);
          }}
          onKeyDown={onKeyDown}
        />
        {onStop === null ? (
          <button type="submit" className="primary" disabled={!complete || held}>
            {held ? "Sending…" : "Send"}
          </button>
        ) : (
          <button type="button" className="stop" onClick={stop}>
            Stop
          </button>
        )}
      </div>
    </form>
  );
}
