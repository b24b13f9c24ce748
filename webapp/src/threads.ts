import { useCallback, useEffect, useState } from "react";

/** A thread as this browser remembers it; the conversation itself is on the server. */
export interface Thread {
  id: string;
  title: string;
}

export interface Threads {
  threads: Thread[];
  current: string;
  open: (id: string) => void;
  create: () => void;
  /** Names a thread after its first message; a thread that has a name keeps it. */
  entitle: (id: string, text: string) => void;
}

const STORAGE_KEY = "threadbox.threads";
const THREAD_ID = /^[A-Za-z0-9_-]{1,128}$/;
const TITLE_LENGTH = 60;

/** The list of threads, kept in this browser; the address's fragment says which one is open. */
export function useThreads(): Threads {
  const [current, setCurrent] = useState(() => fromFragment() ?? load()[0]?.id ?? crypto.randomUUID());
  const [threads, setThreads] = useState(() => withThread(load(), current));

  const open = useCallback((id: string) => {
    setThreads((known) => withThread(known, id));
    setCurrent(id);
  }, []);

  const create = useCallback(() => open(crypto.randomUUID()), [open]);

  const entitle = useCallback((id: string, text: string) => {
    const title = text.trim().split("\n", 1)[0]?.slice(0, TITLE_LENGTH) ?? "";
    setThreads((known) =>
      known.map((thread) => (thread.id === id && thread.title === "" ? { ...thread, title } : thread)),
    );
  }, []);

  useEffect(() => {
    if (fromFragment() !== current) window.location.hash = current;
    const follow = () => open(fromFragment() ?? current);
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, [current, open]);

  useEffect(() => save(threads), [threads]);

  return { threads, current, open, create, entitle };
}

function fromFragment(): string | null {
  const id = window.location.hash.slice(1);
  return THREAD_ID.test(id) ? id : null;
}

function withThread(threads: Thread[], id: string): Thread[] {
  return threads.some((thread) => thread.id === id) ? threads : [{ id, title: "" }, ...threads];
}

function isThread(value: unknown): value is Thread {
  const { id, title } = (value ?? {}) as Partial<Thread>;
  return typeof id === "string" && THREAD_ID.test(id) && typeof title === "string";
}

function load(): Thread[] {
  try {
    const stored: unknown = JSON.parse(window.localStorage.getItem(STORAGE_KEY) ?? "[]");
    return Array.isArray(stored) ? stored.filter(isThread) : [];
  } catch {
    return [];
  }
}

function save(threads: Thread[]): void {
  try {
    window.localStorage.setItem(STORAGE_KEY, JSON.stringify(threads));
  } catch {
    // A browser that keeps nothing (private window, full disk) still can chat.
  }
}
