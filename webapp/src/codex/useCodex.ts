import { useEffect, useState } from "react";
import type { Failure } from "../chat/frames";
import type { FindRemedy } from "../chat/remedies";
import type { Config } from "../config";
import type { Codex, SandboxView } from "../sandbox/sandbox";
import { findRemedy } from "./remedies";
import type { Signin, Stage } from "./signin";
import { useSignin } from "./useSignin";

/** What is open: the dialog to sign in, or the question before a disconnect, after which one may sign in anew. */
export type Panel = "signin" | "disconnect" | "anew";

/** The thread's connection to ChatGPT, and what is shown of it. */
export interface CodexView {
  signin: Signin;
  stage: Stage;
  /** The connection as the backend knows it. */
  known: Codex | null;
  /** Whether the thread has a sign-in at all, one that has ended included; null: not known yet. */
  granted: boolean | null;
  connected: boolean;
  /** Whether the provider no longer accepts the thread's sign-in. */
  ended: boolean;
  /** Whether it has ended and no failure says so. */
  unsaid: boolean;
  panel: Panel | null;
  show: (panel: Panel) => void;
  close: () => void;
  /** Signs in with a code at once, or shows the sign-in that is under way. */
  reconnect: () => void;
  /** Looks the connection up. */
  refresh: () => void;
  findRemedy: FindRemedy;
}

interface Beside {
  sandbox: SandboxView;
  /** Whether the thread's socket is there. */
  online: boolean;
  /** What the thread last failed at. */
  failure: Failure | null;
}

/** The connection of the thread that is open. */
export function useCodex(config: Config, thread: string, { sandbox, online, failure }: Beside): CodexView {
  const [panel, show] = useState<Panel | null>(null);
  const { refresh } = sandbox;
  const { signin, stage } = useSignin(config, thread, { online, onChange: refresh, onFound: () => show("signin") });
  const known = sandbox.status?.codex ?? null;
  const mended = useMended(standing(stage, known), failure);
  const refused = failure?.code === "reconnect_required";
  // The sockets are told, too; but that may have been before there was one.
  useEffect(() => {
    if (refused) refresh();
  }, [refused, refresh]);

  const close = () => {
    show(null);
    if (stage.at === "over" || stage.at === "connected") signin.settle();
  };
  const reconnect = () => {
    show("signin");
    const { at } = signin.stage();
    if (at !== "beginning" && at !== "waiting") void signin.begin();
  };
  const connected = stage.at === "connected" || known?.connected === true;
  const ended = stage.at !== "connected" && known?.reconnect_required === true;
  return {
    signin,
    stage,
    known,
    granted: known && (known.connected || known.reconnect_required),
    connected,
    ended,
    unsaid: ended && !refused,
    panel,
    show,
    close,
    reconnect,
    refresh,
    findRemedy: (met) =>
      findRemedy(met, {
        account: known?.account_id ?? null,
        connected,
        mended: met === mended,
        reconnect,
        anew: () => show("anew"),
      }),
  };
}

type Standing = "unknown" | "none" | "ended" | "connected" | "signed in";

function standing(stage: Stage, known: Codex | null): Standing {
  if (stage.at === "connected") return "signed in";
  if (known === null) return "unknown";
  return known.reconnect_required ? "ended" : known.connected ? "connected" : "none";
}

/** The failure that was there when the connection came back, or was taken back. */
function useMended(now: Standing, failure: Failure | null): Failure | null {
  const [seen, setSeen] = useState<{ standing: Standing; mended: Failure | null }>({ standing: now, mended: null });
  if (now === seen.standing) return seen.mended;
  const next = { standing: now, mended: seen.standing === "unknown" || now === "ended" ? null : failure };
  setSeen(next);
  return next.mended;
}
