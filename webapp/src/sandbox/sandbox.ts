import { useCallback, useEffect, useRef, useState } from "react";
import { z } from "zod";
import { callApi } from "../api";
import type { Failure } from "../chat/frames";
import { useSignal } from "../chat/signals";
import type { Config } from "../config";
import { RequestError, sentenceOf } from "../http";

/** The thread's connection to ChatGPT. */
const Codex = z.object({
  connected: z.boolean(),
  account_id: z.string().nullish(),
  reconnect_required: z.boolean().default(false),
});
export type Codex = z.infer<typeof Codex>;

/** A sandbox as the backend tells of it; times are epoch seconds. */
const Status = z.object({
  state: z.string(),
  detail: z.string().nullish(),
  requested_at: z.number().nullish(),
  started_at: z.number().nullish(),
  ends_at: z.number().nullish(),
  opencode_version: z.string().nullish(),
  reason: z.string().nullish(),
  codex: Codex.nullish(),
});
export type Status = z.infer<typeof Status>;

/** The same, told along with an answer. */
const Told = z.object({ state: z.string(), detail: z.string().nullish(), context_lost: z.boolean().default(false) });

const CHANGING = ["starting", "stopping"];
const LOOK_EVERY_MS = 2_000;
/** While nothing is expected to happen: only whether it has gone to sleep. */
const GLANCE_EVERY_MS = 60_000;

export interface SandboxView {
  status: Status | null;
  /** Whether the agent has lost what it remembered of the conversation, with the sandbox it was in. */
  contextLost: boolean;
  /** Takes note that its user knows. */
  acknowledge: () => void;
  /** Why it was not started or stopped. */
  problem: Failure | null;
  /** Whether a start or stop has just been asked for. */
  asking: boolean;
  start: () => void;
  stop: () => void;
  refresh: () => void;
}

/** The thread's sandbox: what is told along with answers, and what a look at it says. */
export function useSandbox(config: Config, thread: string): SandboxView {
  const [status, setStatus] = useState<Status | null>(null);
  const [contextLost, setContextLost] = useState(false);
  const [problem, setProblem] = useState<Failure | null>(null);
  const [asking, setAsking] = useState(false);
  const [starting, setStarting] = useState(false);

  /** How many calls there were, and the last of them that was answered. */
  const calls = useRef({ asked: 0, answered: 0 });
  const call = useCallback(
    async (method: "GET" | "POST" | "DELETE") => {
      calls.current.asked += 1;
      const mine = calls.current.asked;
      try {
        const answer = await callApi(config, thread, `/api/sandbox/${thread}`, { method, timeoutMs: 40_000 });
        // Answers overtake each other, and a look that was overtaken says what was.
        if (method === "GET" && mine < calls.current.answered) return;
        calls.current.answered = Math.max(mine, calls.current.answered);
        setStatus(Status.parse(answer));
        setProblem(null);
      } catch (error) {
        // A look that fails says nothing about the sandbox; the next one may succeed.
        if (method === "GET") return;
        setProblem(asFailure(error));
        setStarting(false);
      }
    },
    [config, thread],
  );
  const refresh = useCallback(() => void call("GET"), [call]);
  const ask = async (method: "POST" | "DELETE") => {
    setAsking(true);
    setStarting(method === "POST");
    await call(method);
    setAsking(false);
  };

  const state = status?.state;
  useSignal("data-sandbox", Told, (told) => {
    if (told.context_lost) setContextLost(true);
    setStatus((known) => ({ ...known, state: told.state, detail: told.detail }));
    if (told.state !== state) refresh();
  });
  useEffect(refresh, [refresh]);
  useEffect(() => {
    // A start goes on with every call that asks for it: whoever has begun one sees it through.
    const look = () => void call(starting && state === "starting" ? "POST" : "GET");
    const pause = CHANGING.includes(state ?? "") ? LOOK_EVERY_MS : GLANCE_EVERY_MS;
    const timer = setInterval(() => document.hidden || look(), pause);
    const shown = () => document.hidden || look();
    document.addEventListener("visibilitychange", shown);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", shown);
    };
  }, [state, starting, call]);

  return {
    status,
    contextLost,
    acknowledge: () => setContextLost(false),
    problem,
    asking,
    start: () => void ask("POST"),
    stop: () => void ask("DELETE"),
    refresh,
  };
}

function asFailure(error: unknown): Failure {
  const sentence = sentenceOf(error);
  return { sentence, code: error instanceof RequestError ? error.code : null };
}
