import { type FocusEvent, type FormEvent, type KeyboardEvent, useRef, useState } from "react";
import { Icon } from "../ui/Icon";
import type { Thread } from "./threads";

interface ThreadItemProps {
  thread: Thread;
  current: boolean;
  onOpen: () => void;
  onRename: (title: string) => void;
  onDelete: () => void;
}

/** A thread in the list, to open, rename or delete. */
export function ThreadItem({ thread, current, onOpen, onRename, onDelete }: ThreadItemProps) {
  const [renaming, setRenaming] = useState(false);
  const title = thread.title || "New thread";
  if (renaming)
    return (
      <li>
        <Rename
          title={thread.title}
          onDone={(next) => {
            if (next !== null) onRename(next);
            setRenaming(false);
          }}
        />
      </li>
    );
  return (
    <li data-current={current}>
      <button
        type="button"
        className="open"
        aria-current={current ? "page" : undefined}
        title={title}
        onClick={onOpen}
        onDoubleClick={() => setRenaming(true)}
      >
        {title}
      </button>
      <span className="manage">
        <button type="button" className="icon" aria-label={`Rename ${title}`} onClick={() => setRenaming(true)}>
          <Icon name="pencil" />
        </button>
        <button type="button" className="icon" aria-label={`Delete ${title}`} onClick={onDelete}>
          <Icon name="bin" />
        </button>
      </span>
    </li>
  );
}

/** Enter and leaving the field keep the new name, Escape the old one. */
function Rename({ title, onDone }: { title: string; onDone: (title: string | null) => void }) {
  const [text, setText] = useState(title);
  const over = useRef(false);
  const end = (next: string | null) => {
    if (over.current) return;
    over.current = true;
    onDone(next);
  };
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    end(text);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") end(null);
  };
  return (
    <form className="rename" onSubmit={onSubmit}>
      <input
        type="text"
        aria-label="Title of the thread"
        value={text}
        maxLength={60}
        // biome-ignore lint/a11y/noAutofocus: whoever asked to rename it wants to type
        autoFocus
        onFocus={(event: FocusEvent<HTMLInputElement>) => event.target.select()}
        onChange={(event) => setText(event.target.value)}
        onBlur={() => end(text)}
        onKeyDown={onKeyDown}
      />
    </form>
  );
}
