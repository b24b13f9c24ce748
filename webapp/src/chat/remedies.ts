import type { Action } from "../ui/Notice";
import type { Failure } from "./frames";

/** What is said of a failure, and what can be done about it. */
export interface Remedy {
  sentence: string;
  /** Whether its cause is gone: trying again is all that is left. */
  mended: boolean;
  /** Whether trying again can help. */
  again: boolean;
  /** Another way on. */
  way: Action | null;
}

/** Finds the remedy of a failure. The chat itself knows no other than trying again. */
export type FindRemedy = (failure: Failure) => Remedy;

/** What can be done when nothing better is known. */
export function tryAgain({ sentence }: Failure): Remedy {
  return { sentence, mended: false, again: true, way: null };
}
