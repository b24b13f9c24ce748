import { type ReactNode, useEffect, useId, useRef } from "react";

interface ConfirmationProps {
  title: string;
  /** What the button that does it says. */
  action: string;
  /** While it is being done. */
  busy: boolean;
  onConfirm: () => void;
  onCancel: () => void;
  children: ReactNode;
}

/** Asks before something that cannot be taken back. The browser keeps the focus in it, and gives it back. */
export function Confirmation({ title, action, busy, onConfirm, onCancel, children }: ConfirmationProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  return (
    <dialog ref={dialog} className="confirmation" aria-labelledby={heading} onCancel={onCancel}>
      <h2 id={heading}>{title}</h2>
      {children}
      <div className="actions">
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="button" className="danger" disabled={busy} onClick={onConfirm}>
          {busy ? "Deleting…" : action}
        </button>
      </div>
    </dialog>
  );
}
