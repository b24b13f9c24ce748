import { type KeyboardEvent, useContext, useState } from "react";
import { Icon } from "../ui/Icon";
import { type ChatMessage, textOf } from "./messages";
import { RevisingContext } from "./revising";

/** What the user said; it can be said otherwise. */
export function UserMessage({ message }: { message: ChatMessage }) {
  const { open, edit } = useContext(RevisingContext);
  const [draft, setDraft] = useState<string | null>(null);
  const text = textOf(message);

  const ask = () => {
    if (!open || draft === null || draft.trim() === "") return;
    edit(message.id, draft.trim());
    setDraft(null);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") return setDraft(null);
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    ask();
  };

  if (draft === null)
    return (
      <div className="message user">
        <article aria-label="You">{text}</article>
        {open && (
          <button type="button" className="icon" aria-label="Edit" title="Edit" onClick={() => setDraft(text)}>
            <Icon name="pencil" />
          </button>
        )}
      </div>
    );
  return (
    <div className="message user editing">
      <textarea
        // biome-ignore lint/a11y/noAutofocus: it takes the place of the button that was just pressed
        autoFocus
        aria-label="Edited text"
        value={draft}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <p className="hint">What followed in the conversation goes; files in the sandbox stay as they are.</p>
      <div className="actions">
        <button type="button" onClick={() => setDraft(null)}>
          Cancel
        </button>
        <button type="button" className="primary" disabled={!open || draft.trim() === ""} onClick={ask}>
          Ask
        </button>
      </div>
    </div>
  );
}
