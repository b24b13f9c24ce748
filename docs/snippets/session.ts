interface Session {
  token: string;
  /** Epoch seconds. */
  expires_at: number;
}

/** Longer than the five minutes for which `useAgent` keeps what `query` gave. */
const MARGIN_SECONDS = 6 * 60;

const sessions = new Map<string, Promise<Session>>();

/** A token for the thread from your backend: the same one for as long as it is good, since another one makes another socket. */
export async function sessionToken(thread: string): Promise<string> {
  let session = sessions.get(thread);
  if (session === undefined || (await session).expires_at - Date.now() / 1000 < MARGIN_SECONDS) {
    session = newSession(thread);
    sessions.set(thread, session);
    session.catch(() => sessions.delete(thread));
  }
  return (await session).token;
}

async function newSession(thread: string): Promise<Session> {
  const answer = await fetch("/session", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ thread }),
  });
  if (!answer.ok) throw new Error(`no session: ${answer.status}`);
  return await answer.json();
}
