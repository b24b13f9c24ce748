import { useEffect, useRef } from "react";
import { Disconnect } from "./Disconnect";
import { SigninDialog } from "./SigninDialog";
import type { CodexView } from "./useCodex";

interface CodexProps {
  codex: CodexView;
  /** Where the identity provider is played, if it is. */
  idpUrl: string | null;
}

/** The thread's connection to ChatGPT in a word, and behind it the dialog to sign in and to disconnect. */
export function Codex({ codex, idpUrl }: CodexProps) {
  const { signin, stage, known, panel, show, close, reconnect, refresh } = codex;
  const state = stateOf(codex);
  const trigger = useRef<HTMLButtonElement>(null);
  const wasOpen = useRef(false);
  useEffect(() => {
    // What opened it may have gone meanwhile, and nothing would have the focus.
    if (panel === null && wasOpen.current && document.activeElement === document.body) trigger.current?.focus();
    wasOpen.current = panel !== null;
  }, [panel]);
  return (
    <>
      <button
        type="button"
        ref={trigger}
        className="trigger"
        aria-haspopup="dialog"
        onClick={() => {
          show("signin");
          refresh();
        }}
      >
        <span className="sign codex" data-state={state} aria-live="polite">
          <Label state={state} />
        </span>
      </button>
      {panel === "signin" && <SigninDialog codex={codex} idpUrl={idpUrl} />}
      {(panel === "disconnect" || panel === "anew") && (
        <Disconnect
          calls={signin.calls}
          account={known?.account_id ?? null}
          anew={panel === "anew"}
          onClose={panel === "anew" && stage.at === "rest" ? close : () => show("signin")}
          onDisconnected={() => {
            close();
            signin.settle();
            refresh();
            if (panel === "anew") reconnect();
          }}
        />
      )}
    </>
  );
}

type State = "none" | "waiting" | "over" | "connected" | "ended";

function stateOf({ stage, connected, ended }: CodexView): State {
  if (stage.at === "beginning" || stage.at === "waiting") return "waiting";
  if (stage.at === "over") return "over";
  if (ended) return "ended";
  return connected ? "connected" : "none";
}

/** What is said before and after the name. */
const LABELS: Record<State, [string, string]> = {
  none: ["Connect ", ""],
  ended: ["", " connection ended"],
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
