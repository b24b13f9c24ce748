import { Notice } from "../ui/Notice";
import type { CodexView } from "./useCodex";
import { endedSentence, RECONNECT } from "./words";

/** Says that the provider no longer accepts the thread's sign-in, unless a failed answer says so. */
export function ReconnectNotice({ codex }: { codex: CodexView }) {
  const { unsaid, known, reconnect } = codex;
  if (!unsaid) return null;
  return (
    <div className="status">
      <Notice tone="calm" action={{ label: RECONNECT, run: reconnect }}>
        {endedSentence(known?.account_id)}
      </Notice>
    </div>
  );
}
