import { useState } from "react";
import type { Config } from "../config";
import type { SandboxView } from "../sandbox/sandbox";
import { Disconnect } from "./Disconnect";
import { SigninDialog } from "./SigninDialog";
import type { Stage } from "./signin";
import { useSignin } from "./useSignin";

interface CodexProps {
  config: Config;
  thread: string;
  sandbox: SandboxView;
  /** Whether the thread's socket is there. */
  online: boolean;
}

/** The thread's connection to ChatGPT in a word, and behind it the dialog to sign in and to disconnect. */
export function Codex({ config, thread, sandbox, online }: CodexProps) {
  const [open, setOpen] = useState<"dialog" | "disconnect" | null>(null);
  const { refresh } = sandbox;
  const { signin, stage } = useSignin(config, thread, { online, onChange: refresh, onFound: () => setOpen("dialog") });
  const codex = sandbox.status?.codex ?? null;
  const state = stateOf(stage, codex?.connected ?? false, codex?.reconnect_required ?? false);
  const close = () => {
    setOpen(null);
    if (stage.at === "over" || stage.at === "connected") signin.settle();
  };
  return (
    <>
      <button
        type="button"
        className="trigger"
        aria-haspopup="dialog"
        onClick={() => {
          setOpen("dialog");
          refresh();
        }}
      >
        <span className="sign codex" data-state={state} aria-live="polite">
          <Label state={state} />
        </span>
      </button>
      {open === "dialog" && (
        <SigninDialog
          signin={signin}
          stage={stage}
          codex={codex}
          idpUrl={config.idpUrl}
          onDisconnect={() => setOpen("disconnect")}
          onClose={close}
        />
      )}
      {open === "disconnect" && (
        <Disconnect
          calls={signin.calls}
          account={codex?.account_id ?? null}
          onClose={() => setOpen("dialog")}
          onDisconnected={() => {
            close();
            signin.settle();
            refresh();
          }}
        />
      )}
    </>
  );
}

type State = "none" | "waiting" | "over" | "connected" | "reconnect";

function stateOf(stage: Stage, connected: boolean, reconnect: boolean): State {
  if (stage.at === "beginning" || stage.at === "waiting") return "waiting";
  if (stage.at === "over") return "over";
  if (stage.at === "connected" || connected) return "connected";
  return reconnect ? "reconnect" : "none";
}

/** What is said before and after the name. */
const LABELS: Record<State, [string, string]> = {
  none: ["Connect ", ""],
  reconnect: ["Reconnect ", ""],
  waiting: ["Waiting for ", "…"],
  over: ["", " not connected"],
  connected: ["", " connected"],
};

/** On a phone only the name is shown; the rest is still said. */
function Label({ state }: { state: State }) {
  const [before, after] = LABELS[state];
  return (
    <span>
      <span className="rest">{before}</span>ChatGPT<span className="rest">{after}</span>
    </span>
  );
}
