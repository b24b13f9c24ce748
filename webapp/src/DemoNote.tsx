import { CopyButton } from "./ui/CopyButton";

const COMMAND = "MODEL_BASE_URL=https://… MODEL_NAME=… MODEL_API_KEY=… make up";

/** Says what answers here, and how to have something else answer. */
export function DemoNote() {
  return (
    <details className="demo">
      <summary>A demo model answers</summary>
      <p>
        It has no intelligence, always gives the same answers, and really uses the sandbox. Any OpenAI-compatible
        endpoint can take its place:
      </p>
      <div className="folded">
        <pre>{COMMAND.replaceAll(" ", "\n")}</pre>
        <CopyButton text={COMMAND} label="Copy command" />
      </div>
      <p>
        So can <code>ANTHROPIC_API_KEY=…</code> and <code>OPENAI_API_KEY=…</code>; the keys stay outside the sandbox.
      </p>
    </details>
  );
}
