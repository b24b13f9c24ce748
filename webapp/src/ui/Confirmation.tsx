import { type ReactNode, useState } from "react";
import { sentenceOf } from "../http";
import { Dialog } from "./Dialog";

interface ConfirmationProps {
  title: string;
  /** What the button that does it says, and what it says meanwhile. */
  action: string;
  doing: string;
  /** Does it. What it throws is shown, and it can be tried again. */
  onConfirm: () => Promise<void>;
  /** Told once it is done. */
  onDone: () => void;
  onCancel: () => void;
  children: ReactNode;
}

/** Asks before something that cannot be taken back, and does it. */
export function Confirmation({ title, action, doing, onConfirm, onDone, onCancel, children }: ConfirmationProps) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const confirm = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await onConfirm();
    } catch (error) {
      setProblem(sentenceOf(error));
      setBusy(false);
      return;
    }
    onDone();
  };
  return (
    <Dialog title={title} className="confirmation" onClose={onCancel}>
      {children}
      {problem !== null && (
        <p className="failure" role="alert">
          {problem}
        </p>
      )}
      <div className="actions">
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="button" className="danger" disabled={busy} onClick={() => void confirm()}>
          {busy ? doing : action}
        </button>
      </div>
    </Dialog>
  );
}
