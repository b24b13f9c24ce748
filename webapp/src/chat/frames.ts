import { z } from "zod";

/** A sentence for the person in front of the page, and the backend's code for it. */
export interface Failure {
  sentence: string;
  code: string | null;
}

/** What a frame says about the thread's answers. */
export type Said =
  | { kind: "idle" }
  | { kind: "running"; request: string }
  | { kind: "ended"; request: string; failure: Failure | null }
  | { kind: "failure"; failure: Failure };

const Frame = z.object({
  type: z.string(),
  id: z.string().default(""),
  body: z.string().default(""),
  done: z.boolean().default(false),
  error: z.boolean().default(false),
  code: z.string().nullable().default(null),
  message: z.string().default(""),
});

/** Reads a frame of the socket; null when it says nothing about answers. */
export function readFrame(data: unknown): Said | null {
  if (typeof data !== "string") return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(data);
  } catch {
    return null;
  }
  const { data: frame } = Frame.safeParse(parsed);
  switch (frame?.type) {
    case "cf_agent_stream_resume_none":
      return { kind: "idle" };
    case "cf_agent_stream_resuming":
      return { kind: "running", request: frame.id };
    case "cf_agent_use_chat_response": {
      if (!frame.done) return { kind: "running", request: frame.id };
      const failure = frame.error ? { sentence: frame.body, code: frame.code } : null;
      return { kind: "ended", request: frame.id, failure };
    }
    case "error":
      return { kind: "failure", failure: { sentence: frame.message, code: frame.code } };
    default:
      return null;
  }
}
