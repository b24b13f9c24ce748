import type { Config } from "./config";
import { fetchJson } from "./http";
import { getSession } from "./session";

export interface ApiOptions {
  method?: "GET" | "POST" | "DELETE";
  timeoutMs?: number;
  /** Sent as JSON. */
  body?: object;
  /** The `Prefer` header (RFC 7240). */
  prefer?: string;
}

/**
 * Calls the HTTP API for a thread, with a session that is good for it.
 *
 * @throws RequestError as `fetchJson`.
 */
export async function callApi(config: Config, thread: string, path: string, options: ApiOptions = {}) {
  const session = await getSession(thread);
  const { method = "GET", body, prefer, timeoutMs } = options;
  const headers = new Headers({ Authorization: `Bearer ${session.token}` });
  if (prefer !== undefined) headers.set("Prefer", prefer);
  if (body === undefined) return fetchJson(`${config.httpUrl}${path}`, { method, headers }, timeoutMs);
  headers.set("Content-Type", "application/json");
  return fetchJson(`${config.httpUrl}${path}`, { method, headers, body: JSON.stringify(body) }, timeoutMs);
}
