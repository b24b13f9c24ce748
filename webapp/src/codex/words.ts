import type { RequestError } from "../http";
import type { End } from "./attempt";

/** The way on from an end. */
export type Way = "again" | "replace" | "code" | "anew";

/** An end in words. */
export interface Outcome {
  title: string;
  sentence: string;
  /** The backend's code, for whoever has to look for the cause. */
  code: string | null;
  /** What can be done, the likeliest first. */
  ways: Way[];
}

export const WAYS: Record<Way, string> = {
  again: "Start again",
  replace: "Use this account instead",
  code: "Sign in with a code",
  anew: "Disconnect and sign in anew…",
};

export const RECONNECT = "Reconnect";

/** What fails because of the connection: answers, and the start of a sandbox. */
export const TROUBLES = {
  vault_unreadable:
    "This thread’s stored ChatGPT sign-in could not be opened. Trying again may help; if it does not, disconnect it " +
    "and sign in anew. The conversation is kept.",
  provider_unreachable:
    "ChatGPT’s sign-in service cannot be reached just now. Try again in a moment, or choose another model.",
};

type Words = [title: string, sentence: string, ways?: Way[]];

const ENDS: Record<Exclude<End, "connected">, Words> = {
  denied: ["Not approved", "ChatGPT did not let you in: it was denied, or the code had expired."],
  timed_out: ["Time is up", "The sign-in was not approved in time. A new one takes a moment."],
  cancelled: ["Cancelled", "The sign-in was called off. Its code is of no use any more."],
  superseded: ["Another sign-in", "Another sign-in of this thread took the place of this one."],
  abandoned: ["Called off", "No page was open to wait for it, so the sign-in was called off."],
  mismatch: [
    "Another account",
    "It was approved with another ChatGPT account than this thread had before, so nothing was changed. " +
      "To use that one, approve it once more; or start again and approve with the former account.",
    ["replace", "again"],
  ],
  failed: ["It did not work", "The sandbox had a problem during the sign-in. Nothing was connected."],
};

/** The same ends as error codes, and what keeps a sign-in from beginning. */
const REFUSALS: Record<string, Words> = {
  signin_denied: ENDS.denied,
  signin_timed_out: ENDS.timed_out,
  signin_cancelled: ENDS.cancelled,
  signin_superseded: ENDS.superseded,
  signin_abandoned: ENDS.abandoned,
  account_mismatch: ENDS.mismatch,
  opencode_error: ENDS.failed,
  no_signin: ["No longer there", "There is no such sign-in any more."],
  provider_unreachable: ["ChatGPT cannot be reached", "The sandbox got no answer from ChatGPT, or was turned away."],
  signin_ending: [
    "One moment more",
    "An earlier sign-in is still being ended, which waits until the agent has finished its answer.",
  ],
  sandbox_unavailable: ["No sandbox", "A sign-in takes a sandbox, and none could be started just now."],
  vault_unreadable: ["Stored sign-in unreadable", TROUBLES.vault_unreadable, ["again", "anew"]],
};

/** The same when the connection has come back since, or was taken back. */
export const MENDED = {
  connected: "ChatGPT is connected again. Your last message still waits for its answer.",
  none: "ChatGPT is no longer connected. Another model answers from now on.",
};

/** The provider no longer accepts the thread's sign-in. */
export function endedSentence(account: string | null | undefined): string {
  const whose = account ? ` (account ${account})` : "";
  return (
    `ChatGPT no longer accepts this thread’s sign-in${whose}. ` +
    "Sign in again with the same account to go on, or choose another model. The conversation is kept."
  );
}

/** How an attempt ended, in words. */
export function ofEnd(end: Exclude<End, "connected">): Outcome {
  return outcome(ENDS[end], null);
}

/** Why a call was refused, in words; what is not known here is told in the backend's own. */
export function ofError(error: RequestError): Outcome {
  const { code, message, retryAfter } = error;
  if (code === "rate_limited") return outcome(["Too many sign-ins", tooMany(retryAfter)], code);
  // The sandbox knows the reason.
  if (code === "method_unavailable") return outcome(["Not this way", asSentence(message), ["code"]], code);
  return outcome(REFUSALS[code ?? ""] ?? ["It did not work", message], code);
}

/** The provider's answer was not this attempt's. */
export const FOREIGN: Outcome = {
  title: "Not this sign-in",
  sentence: "This answer of ChatGPT belongs to another sign-in, or was used before.",
  code: "forbidden",
  ways: ["again"],
};

/** Minutes and seconds: `9:05`. */
export function clock(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function outcome([title, sentence, ways = ["again"]]: Words, code: string | null): Outcome {
  return { title, sentence, code, ways };
}

function asSentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

function tooMany(retryAfter: number | null): string {
  const minutes = retryAfter === null ? null : Math.ceil(retryAfter / 60);
  const when = minutes === null ? "later" : minutes === 1 ? "in a minute" : `in ${minutes} minutes`;
  return `This thread has begun as many sign-ins as it may for now. Try again ${when}.`;
}
