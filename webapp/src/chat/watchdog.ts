import { useEffect, useState } from "react";
import type { Connection } from "./connection";

/** Why the page no longer waits for an answer. */
export type Stalled = "silence" | "connection";

/** Nothing at all for this long, and the page stops waiting. */
export const SILENCE_MS = 75_000;
/** No connection for this long, and the page stops waiting. */
export const CONNECTION_MS = 30_000;

const TICK_MS = 1_000;

/**
 * Ends the waiting for an answer that may never come: whatever dies on the other side, the page
 * says so in time. The answer itself is left alone; if it does go on, so does the page.
 */
export function useWatchdog(waiting: boolean, { lostAt, heardAt }: Connection): Stalled | null {
  const [now, setNow] = useState(() => Date.now());
  const [since, setSince] = useState(0);

  useEffect(() => {
    if (!waiting) return;
    setSince(Date.now());
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, [waiting]);

  if (!waiting || since === 0) return null;
  if (lostAt !== null && now - Math.max(lostAt, since) >= CONNECTION_MS) return "connection";
  if (now - Math.max(heardAt(), since) >= SILENCE_MS) return "silence";
  return null;
}
