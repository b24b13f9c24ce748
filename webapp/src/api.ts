import type { Config } from "./config";
import { fetchJson } from "./http";
import { getSession } from "./session";

export interface ApiOptions {
  method?: "GET" | "POST" | "DELETE";
  timeoutMs?: number;
}

/**
 * Calls the HTTP API for a thread, with a session that is good for it.
 *
 * @throws RequestError as `fetchJson`.
 */
export async function callApi(config: Config, thread: string, path: string, options: ApiOptions = {}) {
  const session = await getSession(thread);
  const init = { method: options.method ?? "GET", headers: { Authorization: `Bearer ${session.token}` } };
  return fetchJson(`${config.httpUrl}${path}`, init, options.timeoutMs);
}
