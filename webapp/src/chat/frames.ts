import { z } from "zod";

/** A sentence for the person in front of the page, and the backend's code for it. */
export interface Failure {
  sentence: string;
  code: string | null;
}

/** What a frame says: about the thread's answers, or beside them. */
export type Said =
  | { kind: "idle" }
  | { kind: "running"; request: string }
  | { kind: "ended"; request: string; failure: Failure | null }
  | { kind: "failure"; failure: Failure }
  | { kind: "notice"; type: string; data: unknown };

const Frame = z.object({
  type: z.string(),
  id: z.string().default(""),
  body: z.string().default(""),
  done: z.boolean().default(false),
  error: z.boolean().default(false),
  code: z.string().nullable().default(null),
  message: z.string().default(""),
});

/** A chunk beside the conversation. Outside of any answer it is in a frame of its own that is done at once. */
const Notice = z.object({ type: z.string().startsWith("data-"), data: z.unknown() });

/** Reads a frame of the socket; null when it says nothing of that kind. */
export function readFrame(data: unknown): Said | null {
  if (typeof data !== "string") return null;
  const { data: frame } = Frame.safeParse(parse(data));
  switch (frame?.type) {
    case "cf_agent_stream_resume_none":
      return { kind: "idle" };
    case "cf_agent_stream_resuming":
      return { kind: "running", request: frame.id };
    case "cf_agent_use_chat_response": {
      if (!frame.done) return { kind: "running", request: frame.id };
      const { data: notice } = Notice.safeParse(frame.error ? null : parse(frame.body));
      if (notice !== undefined) return { kind: "notice", ...notice };
      const failure = frame.error ? { sentence: frame.body, code: frame.code } : null;
      return { kind: "ended", request: frame.id, failure };
    }
    case "error":
      return { kind: "failure", failure: { sentence: frame.message, code: frame.code } };
    default:
      return null;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
