import { useMemo, useRef, useState } from "react";
import { z } from "zod";
import { Codex } from "../codex/Codex";
import { ReconnectNotice } from "../codex/ReconnectNotice";
import { useCodex } from "../codex/useCodex";
import type { Config } from "../config";
import { ModelPicker } from "../models/ModelPicker";
import { SandboxPanel } from "../sandbox/SandboxPanel";
import { useSandbox } from "../sandbox/sandbox";
import type { Thread, Threads } from "../threads/threads";
import { Notice } from "../ui/Notice";
import { Chat } from "./Chat";
import { Clear } from "./Clear";
import { Composer } from "./Composer";
import { useConnection } from "./connection";
import type { Controls } from "./controls";
import { useOpening } from "./opening";
import { Signals, SignalsContext, useSignal } from "./signals";
import { useWatchdog } from "./watchdog";

interface ThreadViewProps {
  config: Config;
  thread: Thread;
  threads: Threads;
}

/** One thread, with what is said beside its conversation. */
export function ThreadView(props: ThreadViewProps) {
  const signals = useMemo(() => new Signals(), []);
  return (
    <SignalsContext value={signals}>
      <OpenThread {...props} />
    </SignalsContext>
  );
}

const Titled = z.object({ title: z.string() });

/**
 * Opened first, then talked in. A new opening puts a new chat in place of the old one; what is being written below it
 * is not the chat's, and stays as it is.
 */
function OpenThread({ config, thread, threads }: ThreadViewProps) {
  const { opening, problem, reopen, onClose } = useOpening(config, thread.id);
  const [controls, setControls] = useState<Controls | null>(null);
  const connection = useConnection(onClose);
  const underWay = (controls?.busy ?? false) || connection.brokenOff;
  const stalled = useWatchdog(underWay, connection);
  const waiting = underWay && stalled === null;
  const sandbox = useSandbox(config, thread.id);
  const codex = useCodex(config, thread.id, {
    sandbox,
    online: connection.lostAt === null,
    failure: connection.failure,
  });
  useSignal("data-thread", Titled, ({ title }) => threads.entitle(thread.id, title, "agent"));
  const field = useRef<HTMLTextAreaElement>(null);
  const [draft, setDraft] = useState("");
  const suggest = (text: string) => {
    setDraft(text);
    field.current?.focus();
  };

  return (
    <section className="thread" aria-label="Thread">
      <header className="bar">
        <h1>{thread.title || "New thread"}</h1>
        {/* The panels of what the thread has: its sandbox, and whatever it is connected to. */}
        <Codex codex={codex} idpUrl={config.idpUrl} />
        <SandboxPanel sandbox={sandbox} findRemedy={codex.findRemedy} />
        {controls !== null && connection.lostAt === null && <Clear onClear={() => controls.clear()} />}
      </header>
      {opening === null && problem !== null && (
        <Notice tone="problem" action={{ label: "Try again", run: reopen }}>
          {problem}
        </Notice>
      )}
      {opening === null && <p className="opening">{problem === null && "Opening the thread…"}</p>}
      {opening !== null && (
        <Chat
          key={opening.number}
          config={config}
          thread={thread.id}
          token={opening.session.token}
          history={opening.history}
          model={thread.model ?? ""}
          connection={connection}
          stalled={stalled}
          waiting={waiting}
          onControls={setControls}
          findRemedy={codex.findRemedy}
          onFirstMessage={(text) => threads.entitle(thread.id, text, "message")}
          onSuggestion={suggest}
          problem={problem}
          onReopen={reopen}
        />
      )}
      <ReconnectNotice codex={codex} />
      {sandbox.contextLost && (
        <div className="status">
          <Notice tone="calm" action={{ label: "All right", run: sandbox.acknowledge }}>
            This thread has got a new sandbox: the agent no longer knows what was said before.
          </Notice>
        </div>
      )}
      <Composer
        field={field}
        draft={draft}
        onDraft={setDraft}
        ready={controls !== null && connection.lostAt === null}
        onSend={(text) => controls?.send(text)}
        onStop={waiting ? () => controls?.stop() : null}
      >
        <ModelPicker
          config={config}
          thread={thread.id}
          chosen={thread.model ?? ""}
          codex={codex.granted}
          onChoose={(model) => threads.choose(thread.id, model)}
        />
      </Composer>
    </section>
  );
}
