import { createContext, useContext, useEffect, useRef } from "react";
import type { z } from "zod";

type Listener = (data: unknown) => void;

/**
 * Hands on what the backend says beside the conversation: transient `data-…` parts, by their type. Whoever shows
 * something of it listens for its own type; the chat knows none of them.
 */
export class Signals {
  readonly #listeners = new Map<string, Set<Listener>>();

  emit(type: string, data: unknown): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(data);
  }

  /** Listens until the function that is returned is called. */
  on(type: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }
}

export const SignalsContext = createContext(new Signals());

/** Calls *listener* with every signal of that type that has the expected shape. */
export function useSignal<T>(type: string, shape: z.ZodType<T>, listener: (data: T) => void): void {
  const signals = useContext(SignalsContext);
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(
    () =>
      signals.on(type, (data) => {
        const parsed = shape.safeParse(data);
        if (parsed.success) latest.current(parsed.data);
      }),
    [signals, type, shape],
  );
}
