import { useState } from "react";
import { z } from "zod";
import { useSignal } from "./signals";

const Retry = z.object({ attempt: z.number().nullish() });

interface RetryingProps {
  busy: boolean;
  /** How much has come of the answer. */
  progress: number;
}

/** Says that the model is tried again, until more comes of the answer. */
export function Retrying({ busy, progress }: RetryingProps) {
  const [retry, setRetry] = useState<{ attempt: number; progress: number } | null>(null);
  useSignal("data-retry", Retry, ({ attempt }) => setRetry({ attempt: attempt ?? 0, progress }));
  if (!busy || retry?.progress !== progress) return null;
  return (
    <p className="waits" role="status">
      The model did not answer. It is tried again{retry.attempt > 0 ? ` (attempt ${retry.attempt + 1})` : ""}…
    </p>
  );
}
