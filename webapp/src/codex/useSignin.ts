import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { useSignal } from "../chat/signals";
import type { Config } from "../config";
import { Told } from "./attempt";
import { Calls } from "./calls";
import { claim } from "./returned";
import { Signin } from "./signin";

/** The end is told through the socket. Should that be lost, it is found by looking. */
const LOOK_EVERY_MS = 15_000;

interface Watching {
  /** Whether the socket is there: what was told while it was not is looked up when it is back. */
  online: boolean;
  /** Told whenever the thread has been connected or disconnected, here or elsewhere. */
  onChange: () => void;
  /** Told of a sign-in that was there already when the thread was opened. */
  onFound: () => void;
}

/** The sign-in of the thread that is open, kept up with as long as it is. */
export function useSignin(config: Config, thread: string, { online, onChange, onFound }: Watching) {
  const latest = useRef({ onChange, onFound });
  latest.current = { onChange, onFound };
  const signin = useMemo(
    () => new Signin(new Calls(config, thread), () => latest.current.onChange()),
    [config, thread],
  );
  const stage = useSyncExternalStore(signin.watch, signin.stage);

  useSignal("data-codex", Told, (told) => signin.told(told));
  useEffect(() => {
    const answer = claim(thread);
    if (answer !== null) latest.current.onFound();
    void signin.resume(answer).then((found) => found && latest.current.onFound());
    return () => signin.leave();
  }, [signin, thread]);

  const waiting = stage.at === "waiting" ? stage.attempt : null;
  const expiresAt = waiting?.expires_at ?? null;
  useEffect(() => {
    if (expiresAt === null) return;
    // What was told while the socket was not there has been missed.
    if (online) void signin.look();
    const look = () => document.hidden || void signin.look();
    const timer = setInterval(look, LOOK_EVERY_MS);
    const end = setTimeout(look, Math.max(0, expiresAt * 1000 - Date.now()) + 1_000);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      clearTimeout(end);
      document.removeEventListener("visibilitychange", look);
    };
  }, [signin, expiresAt, online]);

  return { signin, stage };
}
