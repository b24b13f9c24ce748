import { useEffect, useRef } from "react";
import { Dialog } from "../ui/Dialog";
import { Icon } from "../ui/Icon";
import { BROWSER, DEVICE, type Method } from "./attempt";
import { BrowserSignin } from "./BrowserSignin";
import { DeviceSignin } from "./DeviceSignin";
import type { CodexView } from "./useCodex";
import { endedSentence, WAYS, type Way } from "./words";

interface SigninDialogProps {
  codex: CodexView;
  /** Where the identity provider is played, if it is. */
  idpUrl: string | null;
}

/** Everything about the thread's connection to ChatGPT: beginning it, waiting for it, its ends, its account. */
export function SigninDialog({ codex, idpUrl }: SigninDialogProps) {
  const { signin, stage, known, ended, show, close } = codex;
  const account = stage.at === "connected" ? stage.account : (known?.account_id ?? null);
  const connected = stage.at === "connected" || (stage.at === "rest" && known?.connected === true);
  const contents = useRef<HTMLDivElement>(null);
  // What had the focus may have gone with what was shown before.
  // biome-ignore lint/correctness/useExhaustiveDependencies: with each stage
  useEffect(() => {
    const { current } = contents;
    (current?.querySelector<HTMLElement>(".primary") ?? current?.querySelector("button"))?.focus();
  }, [stage.at]);
  const begin = (method: Method, replace = false) => void signin.begin(method, replace);
  const take = (way: Way, method: Method) =>
    way === "anew" ? show("anew") : begin(way === "code" ? DEVICE : method, way === "replace");
  const title = connected ? "ChatGPT is connected" : ended ? "Reconnect ChatGPT" : "Connect ChatGPT";
  return (
    <Dialog title={title} className="signin" onClose={close}>
      <div ref={contents}>
        <p role="status" className="says" data-at={stage.at}>
          {says(codex, connected)}
        </p>
        {(connected || (ended && stage.at === "waiting")) && account !== null && (
          <p className="account">
            <span>{connected ? "Account" : "Account so far"}</span>
            <strong>{account}</strong>
          </p>
        )}
        {connected && (
          <div className="actions">
            <button type="button" onClick={() => show("disconnect")}>
              Disconnect…
            </button>
            <button type="button" className="primary" onClick={close}>
              Done
            </button>
          </div>
        )}
        {stage.at === "rest" && !connected && (
          <div className="actions">
            {ended && (
              <button type="button" onClick={() => show("disconnect")}>
                Disconnect…
              </button>
            )}
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
                onClick={() => take(way, stage.method)}
              >
                {WAYS[way]}
              </button>
            ))}
          </div>
        )}
        <button type="button" className="icon close" aria-label="Close" onClick={close}>
          <Icon name="cross" />
        </button>
      </div>
    </Dialog>
  );
}

function says({ stage, known, ended }: CodexView, connected: boolean) {
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
      if (ended) return endedSentence(known?.account_id);
      return "Sign in with your ChatGPT subscription, and Codex answers in this thread. Your sign-in is kept encrypted, and is good for this thread alone.";
  }
}
