import { useRef, useState } from "react";
import type { Config } from "../config";
import { Icon } from "../ui/Icon";
import { DeleteThread } from "./DeleteThread";
import { ThreadItem } from "./ThreadItem";
import type { Thread, Threads } from "./threads";

interface ThreadListProps {
  config: Config | null;
  threads: Threads;
  /** Told when something was chosen, so that a list that covers the page can give way. */
  onChosen: () => void;
}

/** The threads this browser knows, newest first. */
export function ThreadList({ config, threads, onChosen }: ThreadListProps) {
  const [deleting, setDeleting] = useState<Thread | null>(null);
  const create = useRef<HTMLButtonElement>(null);
  return (
    <nav className="threads" aria-label="Threads">
      <button
        type="button"
        className="new"
        ref={create}
        onClick={() => {
          threads.create();
          onChosen();
        }}
      >
        <Icon name="plus" />
        New thread
      </button>
      <ul>
        {threads.threads.map((thread) => (
          <ThreadItem
            key={thread.id}
            thread={thread}
            current={thread.id === threads.current.id}
            onOpen={() => {
              threads.open(thread.id);
              onChosen();
            }}
            onRename={(title) => threads.entitle(thread.id, title, "user")}
            onDelete={() => setDeleting(thread)}
          />
        ))}
      </ul>
      {deleting !== null && config !== null && (
        <DeleteThread
          config={config}
          thread={deleting}
          onClose={() => setDeleting(null)}
          onDeleted={() => {
            threads.remove(deleting.id);
            setDeleting(null);
            // The button it was asked with is gone.
            create.current?.focus();
          }}
        />
      )}
    </nav>
  );
}
