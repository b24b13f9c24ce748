import { useLayoutEffect, useRef } from "react";

/** What a chat lets those around it see and do. */
export interface Controls {
  /** Whether an answer streams in. */
  busy: boolean;
  send: (text: string) => void;
  stop: () => void;
  clear: () => Promise<void>;
}

/**
 * Publishes the controls of a chat to whoever outlives it, and their end with the chat's.
 *
 * @param publish is called when something a person can see has changed, not with every word that streams in.
 */
export function useControls(now: Controls, publish: (controls: Controls | null) => void): void {
  const { busy } = now;
  const latest = useRef(now);
  // All of it before the browser paints: what is shown of a chat and of its controls is never of two moments.
  useLayoutEffect(() => {
    latest.current = now;
  });
  useLayoutEffect(() => {
    publish({
      busy,
      send: (text) => latest.current.send(text),
      stop: () => latest.current.stop(),
      clear: () => latest.current.clear(),
    });
  }, [busy, publish]);
  useLayoutEffect(() => () => publish(null), [publish]);
}
