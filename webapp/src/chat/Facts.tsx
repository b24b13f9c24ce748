import type { Metadata } from "./messages";

/** Reasons that need a word; the usual ones do not. */
const ENDINGS: Record<string, string> = {
  length: "cut off: the model's limit was reached",
  "content-filter": "withheld by the model's provider",
};

/** Which model an answer is from, what it used, and why it ended if not for the usual reason. */
export function Facts({ metadata }: { metadata: Metadata | undefined }) {
  const usage = metadata?.usage;
  const ending = ENDINGS[metadata?.finishReason ?? ""];
  const facts = [
    metadata?.model,
    usage?.inputTokens !== undefined && `${format(usage.inputTokens)} tokens in`,
    usage?.outputTokens !== undefined && `${format(usage.outputTokens)} out`,
    usage?.reasoningTokens ? `${format(usage.reasoningTokens)} of them thoughts` : false,
    ending,
  ].filter((fact) => fact !== undefined && fact !== false);
  if (facts.length === 0) return null;
  return (
    <p className="facts" title={metadata?.finishReason && `Finish reason: ${metadata.finishReason}`}>
      {facts.join(" · ")}
    </p>
  );
}

function format(count: number): string {
  return count.toLocaleString("en");
}
