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
  return (
    <Confirmation
      title="Delete this thread?"
      action="Delete"
      doing="Deleting…"
      onConfirm={async () => {
        await callApi(config, thread.id, `/api/threads/${thread.id}`, { method: "DELETE", timeoutMs: WAIT_MS });
      }}
      onDone={onDeleted}
      onCancel={onClose}
    >
      <p>
        “{thread.title || "New thread"}” goes with its conversation, its sandbox and the files in it. Nothing of it can
        be brought back.
      </p>
    </Confirmation>
  );
}
