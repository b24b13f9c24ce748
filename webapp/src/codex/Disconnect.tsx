import { useState } from "react";
import { Confirmation } from "../ui/Confirmation";
import type { Calls } from "./calls";

interface DisconnectProps {
  calls: Calls;
  account: string | null;
  onClose: () => void;
  onDisconnected: () => void;
}

/** Takes the connection back, after a question. */
export function Disconnect({ calls, account, onClose, onDisconnected }: DisconnectProps) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const confirm = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await calls.disconnect();
      onDisconnected();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };
  return (
    <Confirmation
      title="Disconnect ChatGPT?"
      action="Disconnect"
      doing="Disconnecting…"
      busy={busy}
      onConfirm={() => void confirm()}
      onCancel={onClose}
    >
      <p>
        This thread’s sandbox forgets the account{account && <> {account}</>}, and other models answer from then on.
        Nothing of the conversation is lost. You can connect again at any time.
      </p>
      {problem !== null && (
        <p className="failure" role="alert">
          {problem}
        </p>
      )}
    </Confirmation>
  );
}
