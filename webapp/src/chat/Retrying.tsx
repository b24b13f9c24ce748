import { useEffect, useState } from "react";
import { z } from "zod";
import type { ChatMessage } from "./messages";
import { useSignal } from "./signals";

const Retry = z.object({ attempt: z.number().nullish(), next_at: z.number().nullish() });

/** Says that the model is tried again, until something new comes: *since* is the message it came after. */
export function Retrying({ since }: { since: ChatMessage | undefined }) {
  const [retry, setRetry] = useState<z.infer<typeof Retry> | null>(null);
  useSignal("data-retry", Retry, setRetry);
  // biome-ignore lint/correctness/useExhaustiveDependencies: any change of the message is the news that is waited for
  useEffect(() => setRetry(null), [since]);
  if (retry === null) return null;
  return (
    <p className="waits" role="status">
      The model did not answer. It is tried again{retry.attempt ? ` (attempt ${retry.attempt + 1})` : ""}…
    </p>
  );
}
