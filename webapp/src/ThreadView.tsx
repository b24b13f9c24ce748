import { useState } from "react";
import { Chat } from "./Chat";
import type { Config } from "./config";
import { Notice } from "./Notice";
import { useOpening } from "./opening";

interface ThreadViewProps {
  config: Config;
  thread: string;
  onFirstMessage: (text: string) => void;
}

/** One thread: opened first, then talked in. A new opening puts a new chat in place of the old one. */
export function ThreadView({ config, thread, onFirstMessage }: ThreadViewProps) {
  const [draft, setDraft] = useState("");
  const { opening, problem, reopen, onClose } = useOpening(config, thread);

  return (
    <>
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
          draft={draft}
          onDraft={setDraft}
          onFirstMessage={onFirstMessage}
          problem={problem}
          onClose={onClose}
          onReopen={reopen}
        />
      )}
    </>
  );
}
