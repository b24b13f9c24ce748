import type { ReactNode } from "react";
import { Dialog } from "./Dialog";

interface ConfirmationProps {
  title: string;
  /** What the button that does it says, and what it says meanwhile. */
  action: string;
  doing: string;
  /** While it is being done. */
  busy: boolean;
  onConfirm: () => void;
  onCancel: () => void;
  children: ReactNode;
}

/** Asks before something that cannot be taken back. */
export function Confirmation({ title, action, doing, busy, onConfirm, onCancel, children }: ConfirmationProps) {
  return (
    <Dialog title={title} className="confirmation" onClose={onCancel}>
      {children}
      <div className="actions">
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="button" className="danger" disabled={busy} onClick={onConfirm}>
          {busy ? doing : action}
        </button>
      </div>
    </Dialog>
  );
}
