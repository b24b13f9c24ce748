import type { ReactNode } from "react";

export interface Action {
  label: string;
  run: () => unknown;
}

interface NoticeProps {
  tone: "calm" | "problem";
  /** The backend's code, for whoever has to look for the cause. */
  code?: string | null;
  children: ReactNode;
  action?: Action | null;
  /** Another way on, less likely. */
  also?: Action | null;
}

/** A sentence that needs attention, and the way on. */
export function Notice({ tone, code, children, action, also }: NoticeProps) {
  return (
    <div className={`notice ${tone}`} role={tone === "problem" ? "alert" : "status"}>
      <p>
        {children}
        {code && <code>{code}</code>}
      </p>
      {also && (
        <button type="button" onClick={also.run}>
          {also.label}
        </button>
      )}
      {action && (
        <button type="button" onClick={action.run}>
          {action.label}
        </button>
      )}
    </div>
  );
}
