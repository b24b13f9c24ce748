import { useEffect, useState } from "react";
import { Notice } from "../ui/Notice";
import type { Connection } from "./connection";
import type { Failure } from "./frames";
import type { FindRemedy } from "./remedies";
import type { Stalled } from "./watchdog";

interface NoticesProps {
  connection: Connection;
  stalled: Stalled | null;
  /** Why the thread could not be opened anew. */
  problem: string | null;
  /** Why the last answer failed, or what was refused. */
  failure: Failure | null;
  unanswered: boolean;
  findRemedy: FindRemedy;
  onRetry: () => unknown;
  onReopen: () => unknown;
}

/** A connection that is back sooner than this is not worth a word. */
const GRACE_MS = 1_500;

const STALLED: Record<Stalled, string> = {
  silence: "Nothing has come for a while, so this page stopped waiting. The agent may still be at work.",
  connection: "The connection has been gone for a while, so this page stopped waiting. The agent may still be at work.",
};

/** At most one notice: the one that matters most. */
export function Notices(props: NoticesProps) {
  const { connection, stalled, problem, failure, unanswered, findRemedy, onRetry, onReopen } = props;
  const lost = useDelayed(connection.lostAt !== null, GRACE_MS);
  if (stalled !== null)
    return (
      <Notice tone="problem" action={{ label: "Check again", run: onReopen }}>
        {STALLED[stalled]}
      </Notice>
    );
  if (problem !== null)
    return (
      <Notice tone="problem" action={{ label: "Try again", run: onReopen }}>
        {problem}
      </Notice>
    );
  if (lost)
    return (
      <Notice tone="calm">{connection.met ? "The connection is lost. Trying to get it back…" : "Connecting…"}</Notice>
    );
  if (failure !== null) {
    const retry = { label: "Try again", run: onRetry };
    const { sentence, mended, again, way } = findRemedy(failure);
    return (
      <Notice
        tone={mended ? "calm" : "problem"}
        code={mended ? null : failure.code}
        action={again ? retry : way}
        also={again ? way : null}
      >
        {sentence}
      </Notice>
    );
  }
  if (unanswered)
    return (
      <Notice tone="calm" action={{ label: "Try again", run: onRetry }}>
        No answer came to your last message.
      </Notice>
    );
  return null;
}

/** Turns true only after *value* has been true for *ms*; turns false at once. */
function useDelayed(value: boolean, ms: number): boolean {
  const [delayed, setDelayed] = useState(false);
  useEffect(() => {
    if (!value) return setDelayed(false);
    const timer = setTimeout(() => setDelayed(true), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return value && delayed;
}
