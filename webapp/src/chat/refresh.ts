import { useCallback, useRef } from "react";
import { z } from "zod";
import type { Config } from "../config";
import { type ChatMessage, loadHistory } from "./messages";
import { useSignal } from "./signals";

const Anything = z.unknown();

/**
 * Gets the conversation anew when the server says that it has changed by more than fits into a frame: another tab
 * has asked something, or an answer is complete. What is not stored yet, and streams in meanwhile, stays below it.
 *
 * @returns what does so at any other time.
 */
export function useRefresh(
  config: Config,
  thread: string,
  setMessages: (change: (shown: ChatMessage[]) => ChatMessage[]) => void,
): () => Promise<void> {
  const asked = useRef(0);
  const refresh = useCallback(async () => {
    asked.current += 1;
    const number = asked.current;
    // What cannot be got now is there with the next opening; nothing that is shown is wrong.
    const stored = await loadHistory(config, thread).catch(() => null);
    if (stored === null || number !== asked.current) return;
    const known = new Set(stored.map(({ id }) => id));
    setMessages((shown) => [...stored, ...shown.filter(({ id }) => !known.has(id))]);
  }, [config, thread, setMessages]);
  useSignal("data-history", Anything, () => void refresh());
  return refresh;
}
