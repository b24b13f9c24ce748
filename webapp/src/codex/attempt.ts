import { z } from "zod";

/** How a sign-in ends, as the backend names it. */
export const End = z.enum([
  "connected",
  "denied",
  "timed_out",
  "cancelled",
  "superseded",
  "abandoned",
  "mismatch",
  "failed",
]);
export type End = z.infer<typeof End>;

/** The ways to sign in: through the browser's address, or with a code. */
export const BROWSER = 0;
export const DEVICE = 1;
export type Method = typeof BROWSER | typeof DEVICE;

const method = z.union([z.literal(BROWSER), z.literal(DEVICE)]);
// It becomes a link.
const url = z
  .url({ protocol: /^https$/ })
  .nullish()
  .catch(null);

/** A sign-in, live or over; times are epoch seconds. What its user needs is there while it is live. */
export const Attempt = z.object({
  attempt_id: z.string(),
  status: z.enum(["pending", ...End.options]),
  method,
  expires_at: z.number(),
  url,
  instructions: z.string().nullish(),
  user_code: z.string().nullish(),
  account_id: z.string().nullish(),
});
export type Attempt = z.infer<typeof Attempt>;

/** The answer to a begin: a live attempt, or how far the sandbox is that it needs. */
export const Begun = z.union([
  z.object({ status: z.literal("starting"), generation: z.number(), retry_after: z.number() }),
  Attempt.omit({ status: true, method: true }),
]);

/** What is told of sign-ins and connections along with the conversation. */
export const Told = z.object({
  status: z.string(),
  attempt_id: z.string().nullish(),
  account_id: z.string().nullish(),
});
