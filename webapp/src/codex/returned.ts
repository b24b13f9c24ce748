import { z } from "zod";

/** What the provider sends the browser back with. */
export interface ProviderAnswer {
  state: string;
  /** Null when it was not approved. */
  code: string | null;
}

const STORAGE_KEY = "threadbox.signin";
/** Which thread's sign-in the browser was sent away for. */
const Sent = z.object({ state: z.string(), thread: z.string() });

/** An answer that has come back to the page, until the thread that it is for takes it. */
let arrived: { answer: ProviderAnswer; thread: string | null } | null = null;

/** Remembers which thread a sign-in through the browser is for: what comes back carries a state, and no thread. */
export function remember(url: string, thread: string): void {
  const state = new URL(url).searchParams.get("state");
  try {
    window.localStorage.setItem(STORAGE_KEY, JSON.stringify({ state, thread }));
  } catch {
    // A browser that keeps nothing still can take a pasted address.
  }
}

/**
 * Takes the provider's answer out of the page's own address, where nobody should find it later, and goes to the
 * thread that it is for. To be called before anything else reads the address.
 */
export function receive(): void {
  const { search, pathname, hash } = window.location;
  const answer = answerIn(search);
  if (answer === null) return;
  const thread = threadOf(answer.state);
  arrived = { answer, thread };
  window.history.replaceState(window.history.state, "", `${pathname}${thread === null ? hash : `#${thread}`}`);
}

/** Gives the answer to its thread, once; to whichever thread is open if this browser does not know of one. */
export function claim(thread: string): ProviderAnswer | null {
  if (arrived === null || (arrived.thread ?? thread) !== thread) return null;
  const { answer } = arrived;
  // Anybody could send the browser here with a refusal: only one that was waited for counts.
  const wanted = answer.code !== null || arrived.thread !== null;
  arrived = null;
  return wanted ? answer : null;
}

/** The answer in an address that was pasted, or in its query alone; null when there is none. */
export function answerIn(text: string): ProviderAnswer | null {
  const query = text
    .trim()
    .replace(/^[^?]*\?/, "")
    .replace(/#.*$/, "");
  const given = new URLSearchParams(query);
  const [code, state] = [given.get("code"), given.get("state")];
  if (!state || !(code || given.has("error"))) return null;
  return { state, code: code || null };
}

function threadOf(state: string): string | null {
  try {
    const sent = Sent.safeParse(JSON.parse(window.localStorage.getItem(STORAGE_KEY) ?? "null")).data;
    return sent?.state === state ? sent.thread : null;
  } catch {
    return null;
  }
}
