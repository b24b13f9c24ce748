import { useState } from "react";
import { Confirmation } from "../ui/Confirmation";
import { Icon } from "../ui/Icon";

/** Empties the conversation, after a question. */
export function Clear({ onClear }: { onClear: () => Promise<void> }) {
  const [asking, setAsking] = useState(false);
  const close = () => setAsking(false);
  return (
    <>
      <button
        type="button"
        className="icon"
        aria-label="Clear the conversation"
        title="Clear the conversation"
        onClick={() => setAsking(true)}
      >
        <Icon name="bin" />
      </button>
      {asking && (
        <Confirmation
          title="Clear the conversation?"
          action="Clear"
          doing="Clearing…"
          onConfirm={onClear}
          onDone={close}
          onCancel={close}
        >
          <p>
            All of it is deleted, and the agent forgets it. The sandbox goes on, with its files; so do the connections
            of this thread.
          </p>
        </Confirmation>
      )}
    </>
  );
}
