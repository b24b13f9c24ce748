import { fetchJson } from "./http";

/** The right to use one thread for a while. */
export interface Session {
  token: string;
  /** Milliseconds since the epoch. */
  issuedAt: number;
  expiresAt: number;
}

/** A token this close to its end is not used for anything new. */
const MARGIN_MS = 60_000;

const sessions = new Map<string, Promise<Session>>();

/**
 * The session of a thread: the same one as long as it is valid, since the agents client replaces
 * its socket, even in the middle of an answer, when the token in its address changes.
 */
export async function getSession(thread: string): Promise<Session> {
  const known = sessions.get(thread);
  if (known !== undefined && isFresh(await known)) return known;
  const asked = requestSession(thread);
  sessions.set(thread, asked);
  asked.catch(() => forgetSession(thread));
  return asked;
}

/** Makes the next `getSession` ask the backend again. */
export function forgetSession(thread: string): void {
  sessions.delete(thread);
}

/** Whether the session can still open a connection. */
export function isFresh(session: Session): boolean {
  return Date.now() < session.expiresAt - MARGIN_MS;
}

async function requestSession(thread: string): Promise<Session> {
  const { token, expires_at } = (await fetchJson("/session", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ thread }),
  })) as { token: string; expires_at: number };
  return { token, issuedAt: Date.now(), expiresAt: expires_at * 1000 };
}
