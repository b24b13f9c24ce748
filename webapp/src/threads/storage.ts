import { z } from "zod";

export const STORAGE_KEY = "threadbox.threads";

/** Who gave a thread its title: nobody, its first message, the agent, or its user. */
const Titled = z.enum(["nobody", "message", "agent", "user"]);
export type Titled = z.infer<typeof Titled>;

/** A thread as this browser remembers it; the conversation itself is on the server. */
const Thread = z.object({
  id: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/),
  title: z.string(),
  titled: Titled.default("nobody"),
  /** The model it asks, `provider/id`; empty for the default. */
  model: z.string().default(""),
});
export type Thread = z.infer<typeof Thread>;

/** The threads that are remembered, newest first; what is no thread is left out. */
export function load(): Thread[] {
  try {
    const stored: unknown = JSON.parse(window.localStorage.getItem(STORAGE_KEY) ?? "[]");
    if (!Array.isArray(stored)) return [];
    return stored.map((each) => Thread.safeParse(each).data).filter((thread) => thread !== undefined);
  } catch {
    return [];
  }
}

/** Remembers the threads. */
export function save(threads: Thread[]): void {
  try {
    window.localStorage.setItem(STORAGE_KEY, JSON.stringify(threads));
  } catch {
    // A browser that keeps nothing (private window, full disk) still can chat.
  }
}
