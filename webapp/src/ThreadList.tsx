import type { Thread } from "./threads";

interface ThreadListProps {
  threads: Thread[];
  current: string;
  onOpen: (id: string) => void;
  onCreate: () => void;
}

/** The threads this browser knows, newest first. */
export function ThreadList({ threads, current, onOpen, onCreate }: ThreadListProps) {
  return (
    <nav className="threads" aria-label="Threads">
      <button type="button" className="new" onClick={onCreate}>
        + New thread
      </button>
      <ul>
        {threads.map((thread) => (
          <li key={thread.id}>
            <button
              type="button"
              aria-current={thread.id === current ? "page" : undefined}
              onClick={() => onOpen(thread.id)}
            >
              {thread.title || "Untitled"}
            </button>
          </li>
        ))}
      </ul>
    </nav>
  );
}
