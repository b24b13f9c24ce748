import { z } from "zod";
import { callApi } from "../api";
import type { Config } from "../config";

const Offers = z.array(z.object({ provider: z.string(), id: z.string(), name: z.string(), default: z.boolean() }));
export type Offer = z.infer<typeof Offers>[number];

/** The provider whose models a ChatGPT subscription pays for. */
export const CODEX = "openai";

/** The backend asks the thread's sandbox, and starts it if there is none. */
const WAIT_MS = 40_000;

/** The models that a thread may choose from; exactly one is the default, and comes first. */
export async function loadModels(config: Config, thread: string): Promise<Offer[]> {
  const answer = await callApi(config, thread, `/api/sandbox/${thread}/models`, { timeoutMs: WAIT_MS });
  return Offers.parse(answer).toSorted((a, b) => Number(b.default) - Number(a.default));
}

/** How a chat request names a model. */
export function nameOf(offer: Offer): string {
  return `${offer.provider}/${offer.id}`;
}
