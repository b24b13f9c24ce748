import { CopyButton } from "../ui/CopyButton";

interface CodeBlockProps {
  code: string;
  /** What it is written in, or null. */
  language: string | null;
}

/** Code as it is to be read and taken along. */
export function CodeBlock({ code, language }: CodeBlockProps) {
  return (
    <figure className="code">
      <figcaption>
        <span>{language ?? "text"}</span>
        <CopyButton text={code} label="Copy code" />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard */}
      <pre tabIndex={0}>
        <code>{code}</code>
      </pre>
    </figure>
  );
}
