import { useState } from "react";
import { Chat } from "./Chat";
import { Composer } from "./Composer";
import type { Config } from "./config";
import { useConnection } from "./connection";
import type { Controls } from "./controls";
import { Notice } from "./Notice";
import { useOpening } from "./opening";
import { useWatchdog } from "./watchdog";

interface ThreadViewProps {
  config: Config;
  thread: string;
  onFirstMessage: (text: string) => void;
}

/**
 * One thread: opened first, then talked in. A new opening puts a new chat in place of the old one; what is being
 * written below it is not the chat's, and stays as it is.
 */
export function ThreadView({ config, thread, onFirstMessage }: ThreadViewProps) {
  const { opening, problem, reopen, onClose } = useOpening(config, thread);
  const [controls, setControls] = useState<Controls | null>(null);
  const connection = useConnection(onClose);
  const underWay = (controls?.busy ?? false) || connection.brokenOff;
  const stalled = useWatchdog(underWay, connection);
  const waiting = underWay && stalled === null;

  return (
    <section className="thread">
      {opening === null && problem !== null && (
        <Notice tone="problem" action={{ label: "Try again", run: reopen }}>
          {problem}
        </Notice>
      )}
      {opening === null && problem === null && <p className="opening">Opening the thread…</p>}
      {opening !== null && (
        <Chat
          key={opening.number}
          config={config}
          thread={thread}
          token={opening.session.token}
          history={opening.history}
          connection={connection}
          stalled={stalled}
          waiting={waiting}
          onControls={setControls}
          onFirstMessage={onFirstMessage}
          problem={problem}
          onReopen={reopen}
        />
      )}
      <Composer
        ready={controls !== null && connection.lostAt === null}
        onSend={(text) => controls?.send(text)}
        onStop={waiting ? () => controls?.stop() : null}
      />
    </section>
  );
}
