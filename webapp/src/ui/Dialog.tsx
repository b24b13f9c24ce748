import { type ReactNode, useId, useLayoutEffect, useRef } from "react";
import { createPortal } from "react-dom";

interface DialogProps {
  title: string;
  className: string;
  /** Told when it is to be closed, with Escape for one. */
  onClose: () => void;
  children: ReactNode;
}

/** A dialog above the page. The browser keeps the focus in it, and gives it back. */
export function Dialog({ title, className, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  // Closed while it is still there: only then is the focus given back.
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  // Not within what it was opened from: on a narrow screen that may be hidden, and a dialog that is hidden with it would
  // still keep the rest of the page from being used.
  return createPortal(
    <dialog ref={dialog} className={className} aria-labelledby={heading} onCancel={onClose}>
      <h2 id={heading}>{title}</h2>
      {children}
    </dialog>,
    document.body,
  );
}
