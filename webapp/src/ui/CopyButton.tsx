import { useEffect, useState } from "react";
import { Icon } from "./Icon";

const SHOWN_MS = 1_600;

/** Copies *text*, and says for a moment that it did. */
export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }) {
  const [copied, setCopied] = useState<boolean | null>(null);
  useEffect(() => {
    if (copied === null) return;
    const timer = setTimeout(() => setCopied(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = () => {
    navigator.clipboard.writeText(text).then(
      () => setCopied(true),
      () => setCopied(false),
    );
  };
  const name = copied === null ? label : copied ? "Copied" : "Copying is not allowed here";
  return (
    <button type="button" className="icon copy" aria-label={name} title={name} onClick={copy}>
      <Icon name={copied ? "check" : "copy"} />
    </button>
  );
}
