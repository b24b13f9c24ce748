import { useState } from "react";
import { CopyButton } from "../ui/CopyButton";

interface FoldedProps {
  text: string;
  /** What it is, for the name of its button. */
  what: string;
  /** Whether its end matters more than its beginning, as while it is being written. */
  end?: boolean;
}

/** Lines that are shown before the rest is folded away. */
const SHOWN = 12;
/** A fold that would hide less than this is not worth the click. */
const SPARED = 4;

/** Text of a machine: its first lines, or its last, and the rest on demand. */
export function Folded({ text, what, end = false }: FoldedProps) {
  const [open, setOpen] = useState(false);
  const lines = text.replace(/\n$/, "").split("\n");
  const folds = lines.length > SHOWN + SPARED;
  const shown = !folds || open ? lines : end ? lines.slice(-SHOWN) : lines.slice(0, SHOWN);
  return (
    <div className="folded">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard */}
      <pre tabIndex={0}>{shown.join("\n")}</pre>
      <CopyButton text={text} label={`Copy ${what}`} />
      {folds && (
        <button type="button" className="more" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? "Show less" : `Show all ${lines.length} lines`}
        </button>
      )}
    </div>
  );
}
