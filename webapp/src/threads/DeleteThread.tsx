import { useState } from "react";
import { callApi } from "../api";
import type { Config } from "../config";
import { Confirmation } from "../ui/Confirmation";
import type { Thread } from "./threads";

interface DeleteThreadProps {
  config: Config;
  thread: Thread;
  onClose: () => void;
  onDeleted: () => void;
}

const WAIT_MS = 40_000;

/** Deletes a thread where it is kept, and only then from the list. */
export function DeleteThread({ config, thread, onClose, onDeleted }: DeleteThreadProps) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const confirm = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await callApi(config, thread.id, `/api/threads/${thread.id}`, { method: "DELETE", timeoutMs: WAIT_MS });
      onDeleted();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };
  return (
    <Confirmation
      title="Delete this thread?"
      action="Delete"
      doing="Deleting…"
      busy={busy}
      onConfirm={() => void confirm()}
      onCancel={onClose}
    >
      <p>
        “{thread.title || "New thread"}” goes with its conversation, its sandbox and the files in it. Nothing of it can
        be brought back.
      </p>
      {problem !== null && (
        <p className="failure" role="alert">
          {problem}
        </p>
      )}
    </Confirmation>
  );
}
