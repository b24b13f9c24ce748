import type { ReactNode } from "react";

interface NoticeProps {
  tone: "calm" | "problem";
  children: ReactNode;
  action?: { label: string; run: () => unknown };
}

/** A sentence that needs attention, and the way on. */
export function Notice({ tone, children, action }: NoticeProps) {
  return (
    <div className={`notice ${tone}`} role={tone === "problem" ? "alert" : "status"}>
      <p>{children}</p>
      {action !== undefined && (
        <button type="button" onClick={action.run}>
          {action.label}
        </button>
      )}
    </div>
  );
}
