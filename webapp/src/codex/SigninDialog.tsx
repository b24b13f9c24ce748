import { useEffect, useRef } from "react";
import type { Codex } from "../sandbox/sandbox";
import { Dialog } from "../ui/Dialog";
import { Icon } from "../ui/Icon";
import { BROWSER, DEVICE } from "./attempt";
import { BrowserSignin } from "./BrowserSignin";
import { DeviceSignin } from "./DeviceSignin";
import type { Signin, Stage } from "./signin";
import { WAYS, type Way } from "./words";

interface SigninDialogProps {
  signin: Signin;
  stage: Stage;
  /** The thread's connection as the backend knows it. */
  codex: Codex | null;
  /** Where the identity provider is played, if it is. */
  idpUrl: string | null;
  onDisconnect: () => void;
  /** The dialog goes; a sign-in that waits goes on. */
  onClose: () => void;
}

/** Everything about the thread's connection to ChatGPT: beginning it, waiting for it, its ends, its account. */
export function SigninDialog({ signin, stage, codex, idpUrl, onDisconnect, onClose }: SigninDialogProps) {
  const account = stage.at === "connected" ? stage.account : (codex?.account_id ?? null);
  const connected = stage.at === "connected" || (stage.at === "rest" && codex?.connected === true);
  const contents = useRef<HTMLDivElement>(null);
  // What had the focus may have gone with what was shown before.
  // biome-ignore lint/correctness/useExhaustiveDependencies: with each stage
  useEffect(() => {
    const { current } = contents;
    (current?.querySelector<HTMLElement>(".primary") ?? current?.querySelector("button"))?.focus();
  }, [stage.at]);
  const begin = (method: typeof BROWSER | typeof DEVICE, replace = false) => void signin.begin(method, replace);
  return (
    <Dialog title={connected ? "ChatGPT is connected" : "Connect ChatGPT"} className="signin" onClose={onClose}>
      <div ref={contents}>
        <p role="status" className="says" data-at={stage.at}>
          {says(stage, connected, codex)}
        </p>
        {connected && (
          <>
            {account !== null && (
              <p className="account">
                <span>Account</span>
                <strong>{account}</strong>
              </p>
            )}
            <div className="actions">
              <button type="button" onClick={onDisconnect}>
                Disconnect…
              </button>
              <button type="button" className="primary" onClick={onClose}>
                Done
              </button>
            </div>
          </>
        )}
        {stage.at === "rest" && !connected && (
          <div className="actions">
            <button type="button" onClick={() => begin(BROWSER)}>
              Through the browser
            </button>
            <button type="button" className="primary" onClick={() => begin(DEVICE)}>
              Get a code
            </button>
          </div>
        )}
        {stage.at === "beginning" && (
          <div className="actions">
            <button type="button" onClick={() => void signin.cancel()}>
              Cancel
            </button>
          </div>
        )}
        {stage.at === "waiting" && stage.attempt.method === DEVICE && (
          <DeviceSignin attempt={stage.attempt} idpUrl={idpUrl} />
        )}
        {stage.at === "waiting" && stage.attempt.method === BROWSER && !stage.answered && (
          <BrowserSignin attempt={stage.attempt} idpUrl={idpUrl} onAnswer={(answer) => void signin.complete(answer)} />
        )}
        {stage.at === "waiting" && (
          <div className="actions">
            <button type="button" onClick={() => void signin.cancel()}>
              Cancel the sign-in
            </button>
          </div>
        )}
        {stage.at === "over" && (
          <div className="actions">
            {stage.outcome.code !== null && <code>{stage.outcome.code}</code>}
            {stage.outcome.ways.toReversed().map((way, index, all) => (
              <button
                key={way}
                type="button"
                className={index === all.length - 1 ? "primary" : ""}
                onClick={() => begin(way === "code" ? DEVICE : stage.method, way === "replace")}
              >
                {WAYS[way satisfies Way]}
              </button>
            ))}
          </div>
        )}
        <button type="button" className="icon close" aria-label="Close" onClick={onClose}>
          <Icon name="cross" />
        </button>
      </div>
    </Dialog>
  );
}

function says(stage: Stage, connected: boolean, codex: Codex | null) {
  switch (stage.at) {
    case "beginning":
      if (stage.ending) return "An earlier sign-in is still being ended. This one begins right after it.";
      return "Asking for a sign-in. If there is no sandbox yet, it is started first.";
    case "waiting":
      if (stage.answered) return "ChatGPT has answered. Finishing the sign-in…";
      return "Waiting for your approval. You may close this dialog meanwhile; the sign-in goes on.";
    case "over":
      return (
        <>
          <strong>{stage.outcome.title}.</strong> {stage.outcome.sentence}
        </>
      );
    case "connected":
      return "From the next message on, Codex answers in this thread with your ChatGPT subscription.";
    case "rest":
      if (connected) return "Codex answers in this thread with your ChatGPT subscription.";
      if (codex?.reconnect_required)
        return "This thread was connected, but its sandbox has gone, and your sign-in with it. Sign in again to go on.";
      return "Sign in with your ChatGPT subscription, and Codex answers in this thread. Your sign-in stays in the sandbox of this thread.";
  }
}
