import type { ReactNode } from "react";

interface NoticeProps {
  tone: "calm" | "problem";
  /** The backend's code, for whoever has to look for the cause. */
  code?: string | null;
  children: ReactNode;
  action?: { label: string; run: () => unknown };
}

/** A sentence that needs attention, and the way on. */
export function Notice({ tone, code, children, action }: NoticeProps) {
  return (
    <div className={`notice ${tone}`} role={tone === "problem" ? "alert" : "status"}>
      <p>
        {children}
        {code && <code>{code}</code>}
      </p>
      {action !== undefined && (
        <button type="button" onClick={action.run}>
          {action.label}
        </button>
      )}
    </div>
  );
}
