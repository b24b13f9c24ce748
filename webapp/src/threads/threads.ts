import { useCallback, useEffect, useMemo, useState } from "react";
import { load, STORAGE_KEY, save, type Thread, type Titled } from "./storage";

export type { Thread } from "./storage";

export interface Threads {
  threads: Thread[];
  current: Thread;
  open: (id: string) => void;
  create: () => void;
  /** Gives a thread a title, unless it has one from somebody with more of a say: message, agent, user. */
  entitle: (id: string, title: string, by: Titled) => void;
  /** Keeps which model a thread asks; empty for the default. */
  choose: (id: string, model: string) => void;
  /** Takes a thread off the list, and opens another one in its place. */
  remove: (id: string) => void;
}

const THREAD_ID = /^[A-Za-z0-9_-]{1,128}$/;
const TITLE_LENGTH = 60;
const SAY: Titled[] = ["nobody", "message", "agent", "user"];

/** The list of threads, kept in this browser; the address's fragment says which one is open. */
export function useThreads(): Threads {
  const [id, setId] = useState(() => fromFragment() ?? load()[0]?.id ?? crypto.randomUUID());
  const [threads, setThreads] = useState(() => withThread(load(), id));

  const open = useCallback((next: string) => {
    setThreads((known) => withThread(known, next));
    setId(next);
  }, []);
  const create = useCallback(() => open(crypto.randomUUID()), [open]);

  const change = useCallback((which: string, how: (thread: Thread) => Thread) => {
    setThreads((known) => known.map((thread) => (thread.id === which ? how(thread) : thread)));
  }, []);
  const entitle = useCallback(
    (which: string, text: string, by: Titled) => {
      const title = text.trim().split("\n", 1)[0]?.slice(0, TITLE_LENGTH) ?? "";
      if (title === "") return;
      change(which, (thread) =>
        SAY.indexOf(by) >= SAY.indexOf(thread.titled) ? { ...thread, title, titled: by } : thread,
      );
    },
    [change],
  );
  const choose = useCallback(
    (which: string, model: string) => change(which, (thread) => ({ ...thread, model })),
    [change],
  );
  const remove = (which: string) => {
    const left = threads.filter((thread) => thread.id !== which);
    setThreads(left);
    if (which === id) open(left[0]?.id ?? crypto.randomUUID());
  };

  useEffect(() => {
    if (fromFragment() !== id) window.location.hash = id;
    const follow = () => open(fromFragment() ?? id);
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, [id, open]);

  useEffect(() => save(threads), [threads]);
  useEffect(() => {
    // Another tab of this browser has changed the list.
    const follow = (event: StorageEvent) => {
      if (event.key === STORAGE_KEY) setThreads(withThread(load(), id));
    };
    window.addEventListener("storage", follow);
    return () => window.removeEventListener("storage", follow);
  }, [id]);

  const current = useMemo(() => threads.find((thread) => thread.id === id) ?? untitled(id), [threads, id]);
  return { threads, current, open, create, entitle, choose, remove };
}

function fromFragment(): string | null {
  const id = window.location.hash.slice(1);
  return THREAD_ID.test(id) ? id : null;
}

function untitled(id: string): Thread {
  return { id, title: "", titled: "nobody", model: "" };
}

function withThread(threads: Thread[], id: string): Thread[] {
  return threads.some((thread) => thread.id === id) ? threads : [untitled(id), ...threads];
}
