import type { IconName } from "../ui/Icon";

/** How a call of a tool is told in one line. */
export interface Told {
  icon: IconName;
  /** What it does. */
  verb: string;
  /** What it does it with: a command, a path, an address. */
  object: string;
  /** The rest of its input, as it is to be read, or null when the line says it all. */
  detail: string | null;
  /** Whether a result that is no error is worth a look. */
  telling: boolean;
}

type Input = Record<string, unknown>;

/** The agent's own tools, by name: their verb, the fields that are its object and its content. */
const KNOWN: Record<string, { icon: IconName; verb: string; object: string; detail?: string; dull?: true }> = {
  bash: { icon: "terminal", verb: "Run", object: "command" },
  read: { icon: "file", verb: "Read", object: "filePath" },
  write: { icon: "file", verb: "Write", object: "filePath", detail: "content", dull: true },
  edit: { icon: "pencil", verb: "Edit", object: "filePath", detail: "newString", dull: true },
  list: { icon: "file", verb: "List", object: "path" },
  glob: { icon: "search", verb: "Find files", object: "pattern" },
  grep: { icon: "search", verb: "Search", object: "pattern" },
  webfetch: { icon: "globe", verb: "Fetch", object: "url" },
  task: { icon: "tool", verb: "Delegate", object: "description", detail: "prompt" },
  todowrite: { icon: "check", verb: "Plan", object: "", dull: true },
  question: { icon: "question", verb: "Ask", object: "" },
};

/** Tells a call; an unknown tool's input is shown as it is. */
export function tell(tool: string, input: unknown): Told {
  const fields: Input = typeof input === "object" && input !== null ? (input as Input) : {};
  const known = KNOWN[tool];
  if (known === undefined) {
    const raw = Object.keys(fields).length === 0 ? null : JSON.stringify(fields, null, 2);
    return { icon: "tool", verb: tool, object: "", detail: raw, telling: true };
  }
  const object = text(fields[known.object]);
  const detail = known.detail === undefined ? null : text(fields[known.detail]) || null;
  return { icon: known.icon, verb: known.verb, object, detail, telling: !known.dull };
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** What is known of a call's result. */
export interface Result {
  output: string;
  exitCode: number | null;
  truncated: boolean;
}

/** Reads a result as the backend sends it: `{output, title?, exit_code?, truncated?}`. */
export function readResult(output: unknown): Result {
  const fields: Input = typeof output === "object" && output !== null ? (output as Input) : {};
  return {
    output: typeof output === "string" ? output : text(fields.output),
    exitCode: typeof fields.exit_code === "number" ? fields.exit_code : null,
    truncated: fields.truncated === true,
  };
}
