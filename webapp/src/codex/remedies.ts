import type { Failure } from "../chat/frames";
import { type Remedy, tryAgain } from "../chat/remedies";
import { endedSentence, MENDED, RECONNECT, TROUBLES, WAYS } from "./words";

interface Means {
  /** Whose sign-in the thread has, or had. */
  account: string | null;
  connected: boolean;
  /** Whether the connection has come back, or was taken back, since the failure. */
  mended: boolean;
  reconnect: () => void;
  /** Asks whether to disconnect and sign in anew. */
  anew: () => void;
}

/** What can be done about a failure that comes of the thread's connection to ChatGPT, or of anything else. */
export function findRemedy(failure: Failure, { account, connected, mended, reconnect, anew }: Means): Remedy {
  switch (failure.code) {
    case "reconnect_required":
    case "vault_unreadable":
      if (mended) return { ...tryAgain(failure), sentence: connected ? MENDED.connected : MENDED.none, mended };
      if (failure.code === "vault_unreadable")
        return { ...tryAgain(failure), sentence: TROUBLES.vault_unreadable, way: { label: WAYS.anew, run: anew } };
      return {
        sentence: endedSentence(account),
        mended,
        again: false,
        way: { label: RECONNECT, run: reconnect },
      };
    case "provider_unreachable":
      return { ...tryAgain(failure), sentence: TROUBLES.provider_unreachable };
    default:
      return tryAgain(failure);
  }
}
